"""Who runs a stage's shards: this process, several of one machine, or a cluster."""

from mr_st.mining.engines.protocol import Engine

__all__ = ["Engine"]
