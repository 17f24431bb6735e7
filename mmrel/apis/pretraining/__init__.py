"""From a folder of photos to a pretraining run: what ``tools/pretrain.py`` looks at, decides and writes.

survey, headers     what the folder holds          machine   what there is to compute with
wishes              what the user asked for        weights   what the run goes on from
choices, length, intervals, schedule_rows          the rules, each in a docstring
trial               a few real steps, for time and memory
planning            all of these in order          table, written_config   the plan in words and as a file
run_state           what an earlier start of the same command left
"""
