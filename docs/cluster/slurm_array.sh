#!/bin/bash
# One task of the array for each path: sbatch --array=0-4 docs/cluster/slurm_array.sh +exp=quickstart
# The words after the script are those of lrpath.train. A task that is stopped by the time limit is put into the queue
# again and goes on from what it saved; branches wait for the state of the main path that they leave.
#SBATCH --job-name=lrpath
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=4
#SBATCH --time=04:00:00
#SBATCH --signal=USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=lrpath-%A_%a.out

paths=(main v1 v2 v3 v4) # those of the plan, `python -m lrpath.plan …` lists them; the main path first, so that it starts first

srun --kill-on-bad-exit=1 python -m lrpath.train "$@" paths="${paths[$SLURM_ARRAY_TASK_ID]}" wait=true
code=$?
if [ "$code" -eq 75 ]; then # stopped by a signal, and everything is saved
  scontrol requeue "${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}"
fi
exit "$code"
