#!/usr/bin/env bash
# shellcheck disable=SC2034  # what is set here is for who sources this
# Sourced by the scripts beside it: how relad-bids is called here.
#   RELAD_SIF=/path/relad-bids.sif   the container, with Apptainer; RELAD_GPU=1 adds --nv
#   RELAD_BIDS=/path/relad-bids      else this program (default: relad-bids of the PATH)

relad_app() {  # relad_app BIDS OUT WORK: puts the words of the call into the array `app`
  if [ -n "${RELAD_SIF:-}" ]; then
    app=(apptainer run --cleanenv --no-home ${RELAD_GPU:+--nv}
         -B "$1:$1:ro" -B "$2:$2" -B "$3:$3" "$RELAD_SIF")
  else
    app=("${RELAD_BIDS:-relad-bids}")
  fi
}

relad_folders() {  # relad_folders BIDS OUT WORK: makes the last two; `bids`, `out`, `work` absolute
  bids=$(cd "$1" && pwd)
  mkdir -p "$2" "$3"
  out=$(cd "$2" && pwd) work=$(cd "$3" && pwd)
}

relad_missing() {  # relad_missing JOBS [flags]: who is missing, to JOBS/todo.tsv; `total` of them
  local jobs=$1
  shift
  mkdir -p "$jobs"
  relad_app "$bids" "$out" "$work"
  "${app[@]}" "$bids" "$out" participant -w "$work" "$@" --list-missing "${RELAD_BY:-participant}" \
    > "$jobs/todo.tsv" 2> "$jobs/todo.log" || { cat "$jobs/todo.log" >&2; exit 1; }
  total=$(wc -l < "$jobs/todo.tsv")
  tail -n 1 "$jobs/todo.log" >&2
}

relad_whom() {  # relad_whom LIST LINE: what --list-missing told on a line, as flags in `whom`
  local subject session
  IFS=$'\t' read -r subject session < <(sed -n "${2}p" "$1") || true
  whom=(--participant-label "$subject")
  if [ -n "${session:-}" ]; then whom+=(--session-label "$session"); fi
}

relad_limits() {  # what Slurm gave this job; --cleanenv keeps its variables from the container
  local cpus=${SLURM_CPUS_PER_TASK:-1}
  local mb=${SLURM_MEM_PER_NODE:-$((${SLURM_MEM_PER_CPU:-0} * cpus))}
  limits=(--nprocs "$cpus")
  if [ "$mb" -gt 0 ]; then limits+=(--mem "$mb"); fi  # 0: all the memory of the node
}
