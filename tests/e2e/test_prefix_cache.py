"""Prompts that begin like one that was computed: only what is new is computed, and the answers stay
the same."""

import unittest

from quire_server import Answer, QuireServer, pb
from tenant_files import ConfigFile, as_tenant, with_keys

# Some 1,000 tokens that all prompts begin with.
SYSTEM = "Anna has three apples and Ben has two pears. " * 60


class PrefixCacheTest(unittest.TestCase):
    def ask(self, server, text, tenant=None, **fields):
        metadata = as_tenant(tenant) if tenant else []
        answer = Answer(server.generate(text, max_tokens=12, ignore_eos=True, logprobs=True,
                                        metadata=metadata, **fields)).read()
        self.assertEqual(answer.finish_reason, pb.FINISH_REASON_LENGTH)
        return answer

    def test_a_shared_beginning_is_computed_once(self):
        questions = ["How many has Anna?", "How many has Ben?"]
        with QuireServer("--no-prefix-cache") as server:
            expected = [self.ask(server, SYSTEM + question) for question in questions]
            self.assertEqual([answer.usage.cached_tokens for answer in expected], [0, 0])
        with QuireServer() as server:
            answers, computed = [], []
            for question in questions:
                before = server.metrics_at_rest().value("quire_prompt_tokens_total")
                answers.append(self.ask(server, SYSTEM + question))
                after = server.metrics_at_rest().value("quire_prompt_tokens_total")
                computed.append(after - before)
            self.assertGreater(answers[0].usage.prompt_tokens, 500)
            self.assertEqual(computed[0], answers[0].usage.prompt_tokens)
            cached = answers[1].usage.cached_tokens
            self.assertEqual(computed[1], answers[1].usage.prompt_tokens - cached)
            self.assertLess(computed[1], 50)
            self.assertEqual(server.metrics().value("quire_prefix_cache_hit_tokens_total"), cached)
            for answer, wanted in zip(answers, expected):
                self.assertEqual(answer.ids, wanted.ids)
                self.assertEqual(answer.logprobs, wanted.logprobs, "bit for bit")

    def test_another_salt_learns_nothing(self):
        with QuireServer() as server:
            self.ask(server, SYSTEM, cache_salt="red")
            self.assertEqual(self.ask(server, SYSTEM, cache_salt="blue").usage.cached_tokens, 0)
            self.assertEqual(self.ask(server, SYSTEM).usage.cached_tokens, 0)
            self.assertGreater(self.ask(server, SYSTEM, cache_salt="red").usage.cached_tokens, 500)

    def test_tenants_share_within_their_group_alone(self):
        config = with_keys({"name": "one", "sharing_group": "both"},
                           {"name": "two", "sharing_group": "both"},
                           {"name": "other", "sharing_group": "another"},
                           {"name": "lone"}, {"name": "both"})
        with ConfigFile(config) as file, QuireServer("--config", file.path) as server:
            first = self.ask(server, SYSTEM, tenant="one")
            self.assertEqual(first.usage.cached_tokens, 0)
            self.assertGreater(self.ask(server, SYSTEM, tenant="two").usage.cached_tokens, 500)
            for stranger in ("other", "lone", "both"):
                before = server.metrics_at_rest().value("quire_prompt_tokens_total")
                answer = self.ask(server, SYSTEM, tenant=stranger)
                computed = server.metrics_at_rest().value("quire_prompt_tokens_total") - before
                self.assertEqual(answer.usage.cached_tokens, 0, stranger)
                self.assertEqual(computed, answer.usage.prompt_tokens, stranger)
                self.assertEqual(answer.ids, first.ids)

    def test_who_asks_the_same_at_the_same_time_waits_for_one_that_computes_it(self):
        with QuireServer("--max-step-tokens", "128") as server:
            calls = [server.generate(SYSTEM + question, max_tokens=4, ignore_eos=True)
                     for question in ("Who?", "What?", "When?", "Where?")]
            answers = [Answer(call).read() for call in calls]
            prompts = [answer.usage.prompt_tokens for answer in answers]
            computed = server.metrics_at_rest().value("quire_prompt_tokens_total")
            self.assertLess(computed, max(prompts) + 200, "one whole prompt, and the questions")


if __name__ == "__main__":
    unittest.main()
