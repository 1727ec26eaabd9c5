#!/usr/bin/env bash
# shellcheck disable=SC2034  # app, limits and whom are for who sources this
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
