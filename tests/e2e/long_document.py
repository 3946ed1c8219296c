"""The model and the document of the long-document scenario, the same wherever they are made."""

import random

from tiny_checkpoint import write_checkpoint

DOCUMENT_TOKENS = 60_000
PREFIX_TOKENS = 1_000  # of which tests/golden/data/long_document.json has the logprobs


def write_model(directory, tokenizer_of, kv_groups):
    write_checkpoint(directory, tokenizer_of, kv_groups, hidden_size=128, intermediate_size=256,
                     num_hidden_layers=2, num_attention_heads=4, head_dim=32,
                     max_position_embeddings=65536, rope_theta=1e6)


def document():
    numbers = random.Random(60)
    return [numbers.randrange(1, 700) for _ in range(DOCUMENT_TOKENS)]
