#!/usr/bin/env bash
# slurm_train.sh PARTITION JOB_NAME CONFIG WORK_DIR [options of train.py]
# GPUS (8), GPUS_PER_NODE (8), CPUS_PER_TASK (5), SRUN_ARGS and PY_ARGS come from the environment; more
# GPUS than GPUS_PER_NODE spread over several nodes.
#
# GRACE (120) seconds before its time limit, the run gets SIGUSR1, finishes the step, saves and exits with 138; then the
# script goes on with --resume: inside a batch job it requeues that job (submit it with `sbatch --requeue
# --signal=USR1@120`), outside it asks for a new allocation.
set -euo pipefail

if [[ $# -lt 4 ]]; then
    echo "usage: $0 PARTITION JOB_NAME CONFIG WORK_DIR [options of train.py]" >&2
    exit 2
fi
PARTITION=$1
JOB_NAME=$2
CONFIG=$3
WORK_DIR=$4
GPUS=${GPUS:-8}
GPUS_PER_NODE=${GPUS_PER_NODE:-8}
if ((GPUS < GPUS_PER_NODE)); then
    GPUS_PER_NODE=$GPUS
fi
TOOLS=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

PREEMPTED=138

# SRUN_ARGS and PY_ARGS hold several words each.
# shellcheck disable=SC2086
train() {
    PYTHONPATH="$TOOLS/..${PYTHONPATH:+:$PYTHONPATH}" \
    srun -p "$PARTITION" \
        --job-name="$JOB_NAME" \
        --gres=gpu:"$GPUS_PER_NODE" \
        --ntasks="$GPUS" \
        --ntasks-per-node="$GPUS_PER_NODE" \
        --cpus-per-task="${CPUS_PER_TASK:-5}" \
        --kill-on-bad-exit=1 \
        --signal=USR1@"${GRACE:-120}" \
        ${SRUN_ARGS:-} \
        "${PYTHON:-python}" -u "$TOOLS/train.py" "$CONFIG" --work-dir="$WORK_DIR" --launcher=slurm "$@" ${PY_ARGS:-}
}

RESUME=()
if [[ ${SLURM_RESTART_COUNT:-0} -gt 0 ]]; then
    RESUME=(--resume)
fi
while :; do
    CODE=0
    train ${RESUME[@]+"${RESUME[@]}"} "${@:5}" || CODE=$?
    if [[ $CODE -ne $PREEMPTED ]]; then
        exit "$CODE"
    fi
    if [[ -n ${SLURM_JOB_ID:-} ]]; then
        echo "Preempted; job $SLURM_JOB_ID is requeued and will resume." >&2
        scontrol requeue "$SLURM_JOB_ID"
        exit "$CODE"
    fi
    echo "Preempted; asking for a new allocation to resume." >&2
    RESUME=(--resume)
done
