"""deploy/scenarios: what each promises, on a server with its flags."""

import json
import pathlib
import re
import tempfile
import unittest

import grpc

import long_document
from quire_server import MODEL, TIMEOUT, Answer, QuireServer, pb, quire
from tenant_files import ConfigFile, as_tenant, with_keys
from tiny_checkpoint import write_checkpoint

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Long prompts on a busy machine.
LONG = 10 * TIMEOUT


def flags(name, **changes):
    """The scenario's flags, some of them changed: max_step_tokens="256"."""
    words = (ROOT / "deploy/scenarios" / f"{name}.flags").read_text().split()
    words = [str(ROOT / word) if word.startswith("deploy/") else word for word in words]
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


def facts(story):
    """(question, answer) of each fact of a story of the demo model's, in its order."""
    for who, _, where in re.findall(r"(\w+) (went to) the (\w+)\.", story):
        yield f"Where is {who}?", where
    for who, animals in re.findall(r"(\w+) likes (\w+)\.", story):
        yield f"What does {who} like?", animals
    for who, things in re.findall(r"(\w+) has (\w+ \w+ \w+)\.", story):
        yield f"What does {who} have?", things


def story(shortest):
    """A story of at least so many tokens, without its question."""
    with open(ROOT / "tests/golden/data/demo_eval.jsonl", encoding="utf-8") as lines:
        row = next(row for row in map(json.loads, lines) if row["length"] >= shortest)
    return row["prompt"].rpartition("\nQ: ")[0]


class TenantBudgetsTest(unittest.TestCase):
    """Two tenants want all they can get; the third has what is reserved for it when it comes."""

    # 256 tokens of KV each: 256 KiB with the demo model.
    PROMPT = {"token_ids": pb.TokenIds(ids=[7 + i for i in range(16)]), "max_tokens": 241,
              "temperature": 0, "ignore_eos": True}
    FITS = {"shop": 8, "search": 4, "reports": 8}

    def ask(self, server, tenant):
        return server.generate(metadata=as_tenant(tenant), timeout=LONG, **self.PROMPT)

    def test_each_tenant_has_what_the_plan_says_and_no_more(self):
        tenants = json.loads((ROOT / "deploy/scenarios/tenant_budgets.json").read_text())["tenants"]
        with ConfigFile(with_keys(*tenants)) as file, QuireServer(
                *flags("tenant_budgets", config=file.path)) as server:
            alone = list(Answer(self.ask(server, "search")).read().ids)
            greedy = [self.ask(server, tenant) for tenant in ("search", "reports") * 30]
            seen = []

            def watch(metrics):
                seen.append({tenant: (metrics.value("quire_tenant_requests_running", tenant=tenant),
                                      metrics.value("quire_tenant_kv_bytes", tenant=tenant))
                             for tenant in self.FITS})
                return {tenant: running for tenant, (running, _) in seen[-1].items()}

            server.metrics_when(lambda metrics: watch(metrics) == {
                "shop": 0, "search": self.FITS["search"], "reports": self.FITS["reports"]})
            wanted = [self.ask(server, "shop") for _ in range(self.FITS["shop"])]
            server.metrics_when(lambda metrics: watch(metrics)["shop"] == self.FITS["shop"])
            answers = [list(Answer(call).read().ids) for call in wanted + greedy]
            self.assertEqual(answers, [alone] * len(answers))
            for counts in seen:
                self.assertLessEqual(counts["search"][1], 1 << 20)
                self.assertLessEqual(counts["reports"][1], 2 << 20)
                self.assertLessEqual(sum(held for _, held in counts.values()), 4 << 20)
            metrics = server.metrics_at_rest()
            self.assertEqual(metrics.value("quire_tenant_preemptions_total", tenant="shop"), 0)

    def test_with_multi_head_attention_a_third_would_fit(self):
        budgets = {"shop": "2M", "search": "1M", "reports": "2M"}
        plan = json.loads(quire("plan", MODEL, "--json", "--kv-memory", "4M", "--context", "257",
                                *(word for name, size in budgets.items()
                                  for word in ("--budget", f"{name}={size}"))))
        fits = {row["tenant"]: row["capacity"][0]["sequences"] for row in plan["budgets"]}
        self.assertEqual(fits, self.FITS)
        sequences = {row["kv_groups"][0]: row["capacity"][0]["sequences"] for row in plan["rows"]}
        self.assertEqual(sequences, {6: 5, 3: 10, 2: 16, 1: 32})


class SupportAssistantTest(unittest.TestCase):
    """Everybody asks about the same long document, two questions each, in memory for two of it."""

    USERS = 24

    def ask(self, server, prompt):
        return server.generate(prompt, max_tokens=12, temperature=0, timeout=LONG)

    def converse(self, server, document, questions):
        """The answers to two questions of each user, the second one with the first in its prompt."""
        first = [f"{document}\nQ: {one}\nA:" for one, _ in questions]
        texts = [answer.read().text for answer in [Answer(self.ask(server, p)) for p in first]]
        second = [f"{prompt}{text}\nQ: {two}\nA:"
                  for prompt, text, (_, two) in zip(first, texts, questions)]
        more = [answer.read().text for answer in [Answer(self.ask(server, p)) for p in second]]
        return texts, more

    def test_a_document_is_computed_once_and_answers_are_those_of_a_lone_user(self):
        document = story(900)
        known = list(facts(document))
        pairs = [(known[i % len(known)], known[(7 * i + 3) % len(known)])
                 for i in range(self.USERS)]
        questions = [(one, two) for (one, _), (two, _) in pairs]
        with QuireServer(*flags("support_assistant")) as server:
            answers = self.converse(server, document, questions)
            metrics = server.metrics_at_rest()
        with QuireServer() as server:
            alone = [self.converse(server, document, [pair]) for pair in questions]
        self.assertEqual(answers, tuple(sum(texts, []) for texts in zip(*alone)))
        right = [text == f" {answer}." for text, (_, answer) in
                 zip(answers[0] + answers[1], [one for one, _ in pairs] + [two for _, two in pairs])]
        self.assertGreater(sum(right) / len(right), 0.9)
        hits = metrics.value("quire_prefix_cache_hit_tokens_total")
        self.assertGreater(hits / metrics.value("quire_prefix_cache_queried_tokens_total"), 0.9)


class SmallDeviceTest(unittest.TestCase):
    """A model of 0.36 billion parameters and four sequences in a gigabyte."""

    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.TemporaryDirectory()
        cls.model = pathlib.Path(cls.directory.name) / "model"
        write_checkpoint(cls.model, pathlib.Path(MODEL), 5, vocab_size=49152, hidden_size=960,
                         intermediate_size=2560, num_hidden_layers=32, num_attention_heads=15,
                         head_dim=64, max_position_embeddings=8192)

    @classmethod
    def tearDownClass(cls):
        cls.directory.cleanup()

    def test_everything_at_once_within_a_gigabyte(self):
        prompt = pb.TokenIds(ids=[7 + i % 700 for i in range(400)])
        for weights, most in [("dense", 1 << 30), ("int8", 640 << 20)]:
            with QuireServer("--model", str(self.model), "--weights", weights,
                             *flags("small_device")) as server:
                calls = [server.generate(token_ids=prompt, max_tokens=16, ignore_eos=True,
                                         seed=i + 1, timeout=LONG) for i in range(8)]
                answers = [Answer(call).read() for call in calls]
                self.assertEqual([len(answer.ids) for answer in answers], [16] * len(answers))
                self.assertLess(peak_bytes(server), most)

    def test_the_plan_says_what_fits(self):
        plan = json.loads(quire("plan", str(self.model), "--json", "--context", "2000",
                                "--kv-memory", "80M"))
        sequences = {row["kv_groups"][0]: row["capacity"][0]["sequences"] for row in plan["rows"]}
        self.assertEqual(sequences, {15: 0, 5: 1, 3: 1, 1: 5})


if __name__ == "__main__":
    unittest.main()
