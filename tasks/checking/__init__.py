"""What a new task is asked before it is taken: one idea a file, each a pure function of the task's data."""

from mr_st.tasks.checking.check import TaskCheck, check_task

__all__ = ["TaskCheck", "check_task"]
