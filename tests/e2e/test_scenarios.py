"""deploy/scenarios: what each promises, on a server with its flags."""

import json
import pathlib
import tempfile
import unittest

import grpc

import long_document
from quire_server import MODEL, TIMEOUT, QuireServer, pb, quire

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Long prompts on a busy machine.
LONG = 10 * TIMEOUT


def flags(name, **changes):
    """The scenario's flags, some of them changed: max_step_tokens="256"."""
    words = (ROOT / "deploy/scenarios" / f"{name}.flags").read_text().split()
    for flag, value in changes.items():
        words[words.index("--" + flag.replace("_", "-")) + 1] = value
    return words


def peak_bytes(server):
    for line in pathlib.Path(f"/proc/{server.process.pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) << 10
    raise AssertionError("no VmHWM")


class LongDocumentTest(unittest.TestCase):
    """60,000 tokens within 64 MiB, all of the process included, as there is one KV group."""

    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.TemporaryDirectory()
        cls.document = long_document.document()

    @classmethod
    def tearDownClass(cls):
        cls.directory.cleanup()

    def model(self, kv_groups):
        path = pathlib.Path(self.directory.name) / f"groups{kv_groups}"
        if not path.exists():
            long_document.write_model(path, pathlib.Path(MODEL), kv_groups)
        return str(path)

    def answer(self, server, tokens, **fields):
        """Ids and logprobs of the answer, and the logprobs of the prompt."""
        call = server.generate(token_ids=pb.TokenIds(ids=tokens), temperature=0, ignore_eos=True,
                               logprobs=True, timeout=LONG, **fields)
        ids, logprobs, prompt = [], [], []
        for message in call:
            ids += message.token_ids
            logprobs += message.logprobs
            prompt += message.prompt_logprobs
        return ids, logprobs, prompt

    def test_the_whole_document_within_the_memory_and_alike_in_any_chunks(self):
        answers = []
        for chunk in ("1024", "2048"):
            with QuireServer("--model", self.model(1), "--device", "cpu",
                             *flags("long_document", max_step_tokens=chunk)) as server:
                answers.append(self.answer(server, self.document, max_tokens=16)[:2])
                if chunk == "1024":
                    self.assertLess(peak_bytes(server), 64 << 20)
        self.assertEqual(len(answers[0][0]), 16)
        self.assertEqual(answers[0], answers[1])

    def test_its_beginning_has_the_logprobs_of_transformers(self):
        golden = json.loads((ROOT / "tests/golden/data/long_document.json").read_text())
        prefix = self.document[:long_document.PREFIX_TOKENS]
        for dtype, most, mean in (("f32", 2e-4, 6e-5), ("bf16", 2e-3, 4e-4)):
            with QuireServer("--model", self.model(1), "--device", "cpu", "--dtype", dtype,
                             *flags("long_document")) as server:
                known = self.answer(server, prefix, max_tokens=1, prompt_logprobs=0)[2]
            self.assertEqual(len(known), len(golden))
            errors = [abs(ours - theirs) for ours, theirs in zip(known, golden)]
            self.assertLess(max(errors), most)
            self.assertLess(sum(errors) / len(errors), mean)

    def test_with_multi_head_attention_it_would_not_fit_and_the_plan_says_so(self):
        plan = json.loads(quire("plan", self.model(1), "--json", "--context", "60016",
                                "--kv-memory", flags("long_document")[7]))
        fits = {row["kv_groups"][0]: row["capacity"][0]["sequences"] for row in plan["rows"]}
        self.assertEqual(fits, {4: 0, 2: 0, 1: 1})
        with QuireServer("--model", self.model(4), "--device", "cpu",
                         *flags("long_document")) as server:
            with self.assertRaises(grpc.RpcError) as error:
                self.answer(server, self.document, max_tokens=16)
        self.assertEqual(error.exception.code(), grpc.StatusCode.INVALID_ARGUMENT)


if __name__ == "__main__":
    unittest.main()
