#!/usr/bin/env bash
# Submit what is missing: an array with one task a participant, then the group level.
#   singularity/slurm/submit.sh BIDS OUT WORK [flags of relad-bids participant]
# Run it again, with the same words, for what failed or was killed: whoever has complete results is
# not submitted. OUT and WORK are shared by all tasks and must be seen by every node.
#   RELAD_BY=session         one task a session
#   RELAD_AT_ONCE=50         tasks that run at a time
#   RELAD_SBATCH="-p long"   more words for sbatch; --cpus-per-task, --mem and --time stand in
#                            participant.sbatch and can be given here
#   RELAD_GROUP="--combat site"    flags of the level group; RELAD_GROUP=none: no group level
# How the program is called: app.sh.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=singularity/slurm/app.sh
. "$here/app.sh"
if [ $# -lt 3 ]; then sed -n '2,11s/^# \?//p' "$0" >&2; exit 64; fi
relad_folders "$1" "$2" "$3"
shift 3
name=relad-$(printf %s "$out" | cksum | cut -d ' ' -f 1)
if [ -n "$(squeue --noheader --me --name "$name,$name-group")" ]; then
  echo "jobs named $name for $out are still waiting or running (squeue --me --name $name);" \
       "submit again when they have ended, or scancel --me --name $name first." >&2
  exit 75
fi

jobs=$work/slurm/$(date +%Y%m%dT%H%M%S)
relad_missing "$jobs" "$@"

read -r -a more <<< "${RELAD_SBATCH:-}"
first=1 ids=()
while [ "$first" -le "$total" ]; do  # Slurm's arrays end at 1000 unless a site allows more
  n=$((total - first < 1000 ? total - first + 1 : 1000))
  ids+=("$(sbatch --parsable --job-name "$name" --array "1-$n%${RELAD_AT_ONCE:-50}" \
    --output "$jobs/%A_%a.log" "${more[@]}" "$here/participant.sbatch" \
    "$here" "$jobs/todo.tsv" "$((first - 1))" "$bids" "$out" "$work" "$@")")
  first=$((first + n))
done
after=()
if [ "${#ids[@]}" -gt 0 ]; then after=(--dependency "afterany:$(IFS=:; echo "${ids[*]}")"); fi
if [ "${RELAD_GROUP:-}" != none ]; then
  ids+=("$(sbatch --parsable --job-name "$name-group" "${after[@]}" --output "$jobs/group.log" \
    "${more[@]}" "$here/group.sbatch" "$here" "$jobs" "$bids" "$out" "$work" "$@")")
fi
echo "${ids[@]}"
