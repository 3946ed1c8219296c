"""A GGUF file alone is a model: the demo model in that form answers as its directory does."""

import json
import pathlib
import tempfile
import unittest

from gguf_file import write_gguf
from quire_server import MODEL, Answer, QuireServer, pb, quire

PROMPTS = ["Anna has", "  Tom's 12 boxes\n", "Where is the red ball? <|end|> ü 🙂"]


def answers(server):
    """Ids, logprobs and text; nothing is left to the defaults of generation_config.json."""
    return [(list(prompt.messages[0].prompt_token_ids), prompt.ids, prompt.logprobs, prompt.text)
            for prompt in (Answer(server.generate(text, max_tokens=64, temperature=0.8, top_k=0,
                                                  top_p=1, seed=5, logprobs=True, echo=True)).read()
                           for text in PROMPTS)]


class GgufTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.TemporaryDirectory()
        cls.path = pathlib.Path(cls.directory.name) / "demo.gguf"
        write_gguf(pathlib.Path(MODEL), cls.path)

    @classmethod
    def tearDownClass(cls):
        cls.directory.cleanup()

    def test_it_answers_as_the_directory_that_it_was_made_from(self):
        with QuireServer() as server:
            expected = answers(server)
        for model in (self.path, self.path.parent):
            with QuireServer("--model", str(model)) as server:
                self.assertEqual(answers(server), expected)

    def test_the_tools_read_it(self):
        lines = json.loads(quire("check", str(self.path), "--json"))
        self.assertEqual([line["outcome"] for line in lines], ["ok"] * 8, lines)
        shape = json.loads(quire("inspect", str(self.path), "--json"))
        self.assertEqual((shape["query_heads"], shape["kv_groups"]), (6, [2] * 4))
        for text in PROMPTS:
            self.assertEqual(quire("tokenize", "--model", str(self.path), "--json", text),
                             quire("tokenize", "--model", MODEL, "--json", text))


if __name__ == "__main__":
    unittest.main()
