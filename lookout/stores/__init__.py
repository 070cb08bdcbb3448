"""Where things are kept: registry (SQL, the authority), vectors (Milvus), crops (Redis), blobs (files)."""
