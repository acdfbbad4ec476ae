"""Operations on boxes, masks and pooled features that carry no weights."""
