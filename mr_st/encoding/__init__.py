"""Text to vectors: sharded, content-keyed encoding that mining and evaluation share."""

from mr_st.encoding.encode import encode, prompt_of
from mr_st.encoding.shards import ShardStore

__all__ = ["ShardStore", "encode", "prompt_of"]
