#!/usr/bin/env bash
# Submit what is missing to PBS (Pro, OpenPBS): an array with one subjob a participant, then the
# level group.
#   singularity/pbs/submit.sh BIDS OUT WORK [flags of relad-bids participant]
# Run it again, with the same words, for what failed or was killed: whoever has complete results is
# not submitted. OUT and WORK are shared by all subjobs and must be seen by every node.
#   RELAD_BY=session                        one subjob a session
#   RELAD_AT_ONCE=50                        subjobs that run at a time (PBS of 2020 and later)
#   RELAD_CPUS=2 RELAD_GB=8 RELAD_TIME=02:00:00    of each subjob; RELAD_GPU=1 asks for a GPU, too
#   RELAD_QSUB="-q long -P project"         more words for qsub
#   RELAD_GROUP="--combat site"             flags of the level group; RELAD_GROUP=none: no group
# How the program is called: ../slurm/app.sh.
set -euo pipefail

slurm=$(cd "$(dirname "${BASH_SOURCE[0]}")/../slurm" && pwd)
# shellcheck source=singularity/slurm/app.sh
. "$slurm/app.sh"
if [ $# -lt 3 ]; then sed -n '2,13s/^# \?//p' "$0" >&2; exit 64; fi
relad_folders "$1" "$2" "$3"
shift 3
name=r$(printf %s "$out" | cksum | cut -d ' ' -f 1)  # 15 characters at most
if [ -n "$(qselect -u "$(id -un)" -N "$name")" ]; then
  echo "jobs named $name for $out are still waiting or running (qselect -N $name);" \
       "submit again when they have ended, or qdel \$(qselect -N $name) first." >&2
  exit 75
fi

jobs=$work/pbs/$(date +%Y%m%dT%H%M%S)
relad_missing "$jobs" "$@"

words() { printf '%q ' "$@"; }  # PBS copies a job's script and hands it no words: all stand in it
cpus=${RELAD_CPUS:-2} gb=${RELAD_GB:-8}
cat > "$jobs/participant.sh" <<END
#!/usr/bin/env bash
set -euo pipefail
. $(words "$slurm/app.sh")
relad_whom $(words "$jobs/todo.tsv") "\${PBS_ARRAY_INDEX:-1}"
exec $(words "${app[@]}" "$bids" "$out" participant -w "$work" --nprocs "$cpus" --mem "${gb}G" \
  "$@") "\${whom[@]}"
END
cat > "$jobs/group.sh" <<END
#!/usr/bin/env bash
export RELAD_SIF=$(words "${RELAD_SIF:-}") RELAD_BIDS=$(words "${RELAD_BIDS:-relad-bids}")
export RELAD_BY=$(words "${RELAD_BY:-participant}") RELAD_GROUP=$(words "${RELAD_GROUP:-}")
exec bash $(words "$slurm/group.sbatch" "$slurm" "$jobs" "$bids" "$out" "$work" "$@")
END

read -r -a more <<< "${RELAD_QSUB:-}"
common=(-j oe -o "$jobs/" -l "walltime=${RELAD_TIME:-02:00:00}")
after=() ids=()
if [ "$total" -gt 0 ]; then
  array=(-J "1-$total${RELAD_AT_ONCE:+%$RELAD_AT_ONCE}")
  if [ "$total" -eq 1 ]; then array=(); fi  # PBS takes no array of one
  ids+=("$(qsub -N "$name" "${array[@]}" "${common[@]}" \
    -l "select=1:ncpus=$cpus:mem=${gb}gb${RELAD_GPU:+:ngpus=1}" "${more[@]}" \
    "$jobs/participant.sh")")
  after=(-W "depend=afterany:${ids[0]}")
fi
if [ "${RELAD_GROUP:-}" != none ]; then
  ids+=("$(qsub -N "$name" "${after[@]}" "${common[@]}" -l select=1:ncpus=1:mem=8gb "${more[@]}" \
    "$jobs/group.sh")")
fi
echo "${ids[@]}"
