"""Sampling rules and what an answer may carry besides its text, seen by a stock client."""

import unittest

import grpc

from quire_server import TIMEOUT, Answer, Answers, QuireServer, pb

GREEDY = {"max_tokens": 24, "ignore_eos": True, "temperature": 0}


class OutputTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = QuireServer("--max-n", "4", "--max-queued", "4", "--max-logprobs", "6")
        cls.model = cls.server.stub.ListModels(pb.ListModelsRequest(), timeout=TIMEOUT).models[0]

    @classmethod
    def tearDownClass(cls):
        code = cls.server.stop()
        if code != 0:
            raise AssertionError(f"exit code {code}: {''.join(cls.server.log)}")

    def answer(self, *args, **fields):
        return Answer(self.server.generate(*args, **fields)).read()

    def decode(self, ids, **fields):
        request = pb.DetokenizeRequest(token_ids=ids, **fields)
        return self.server.stub.Detokenize(request, timeout=TIMEOUT).text

    def test_logprob_alternatives_are_the_likeliest_and_hold_a_greedy_token_first(self):
        answer = self.answer(top_logprobs=5, **GREEDY)
        self.assertEqual(len(answer.logprobs), 24)
        self.assertEqual(len(answer.top_logprobs), 24)
        for token, logprob, top in zip(answer.ids, answer.logprobs, answer.top_logprobs):
            self.assertEqual(len(top.token_ids), 5)
            self.assertEqual(top.token_ids[0], token)
            self.assertEqual(top.logprobs[0], logprob)
            self.assertEqual(list(top.logprobs), sorted(top.logprobs, reverse=True))
        self.assertEqual(self.answer(logprobs=True, **GREEDY).logprobs, answer.logprobs)

    def test_prompt_logprobs_and_echo_give_the_prompt_as_it_was_generated(self):
        first = self.answer(top_logprobs=3, **GREEDY)
        prompt = self.server.stub.Tokenize(pb.TokenizeRequest(text="Anna has"), timeout=TIMEOUT)
        ids = list(prompt.token_ids) + first.ids
        answer = self.answer(token_ids=pb.TokenIds(ids=ids), max_tokens=1, prompt_logprobs=3,
                             echo=True)
        self.assertEqual(answer.prompt_ids, ids)
        self.assertEqual(answer.prompt_text, self.decode(ids))
        self.assertEqual(len(answer.prompt_logprobs), len(ids) - 1)
        self.assertEqual(answer.prompt_logprobs[-24:], first.logprobs)
        self.assertEqual(answer.prompt_top_logprobs[-24:], first.top_logprobs)
        self.assertEqual(answer.usage.prompt_tokens, len(ids))

    def test_several_answers_share_a_prompt_and_draw_each_for_itself(self):
        fields = {"max_tokens": 30, "temperature": 3, "top_k": 0, "top_p": 1, "ignore_eos": True,
                  "seed": 11}
        answers = Answers(self.server.generate(n=3, **fields))
        self.assertEqual(sorted(answers.by_index), [0, 1, 2])
        for answer in answers.by_index.values():
            self.assertEqual(answer.finish_reason, pb.FINISH_REASON_LENGTH)
            self.assertEqual(len(answer.ids), 30)
            self.assertEqual(answer.text, self.decode(answer.ids))
        self.assertEqual(len({tuple(answer.ids) for answer in answers.by_index.values()}), 3)
        self.assertEqual(answers.by_index[0].ids, self.answer(**fields).ids)
        again = Answers(self.server.generate(n=2, **fields))
        self.assertEqual(again.by_index[1].ids, answers.by_index[1].ids)
        prompt = self.server.stub.Tokenize(pb.TokenizeRequest(text="Anna has"), timeout=TIMEOUT)
        self.assertEqual(answers.usage.prompt_tokens, len(prompt.token_ids))
        self.assertEqual(answers.usage.generated_tokens, 90)
        self.assertEqual(answers.code, grpc.StatusCode.OK)

    def test_a_cancel_ends_all_answers(self):
        cancelled = lambda: self.server.metrics_at_rest().value(
            "quire_requests_finished_total", reason="cancelled")
        before = cancelled()
        call = self.server.generate(n=4, max_tokens=1900, ignore_eos=True)
        next(iter(call))
        call.cancel()
        self.assertEqual(cancelled() - before, 4)

    def test_a_bad_word_does_not_come(self):
        whole = self.answer(**GREEDY)
        word = whole.text.split()[1]
        avoided = self.answer(bad_words=[word], **GREEDY)
        self.assertIn(" " + word, whole.text)
        self.assertNotEqual(avoided.ids, whole.ids)
        ids = self.answer(bad_word_ids=[pb.TokenIds(ids=whole.ids[3:6])], **GREEDY).ids
        self.assertEqual(ids[:5], whole.ids[:5])
        self.assertNotEqual(ids[5], whole.ids[5])

    def test_a_bias_decides_and_the_lowest_one_bans(self):
        whole = self.answer(**GREEDY)
        banned = self.answer(logit_bias={whole.ids[0]: -100}, **GREEDY)
        self.assertNotIn(whole.ids[0], banned.ids)
        other = banned.ids[0]
        self.assertEqual(self.answer(logit_bias={other: 100}, **GREEDY).ids, [other] * 24)

    def test_only_allowed_ids_come(self):
        allowed = [40, 41, 42]
        ids = self.answer(allowed_token_ids=allowed, max_tokens=30, temperature=5).ids
        self.assertLessEqual(set(ids), set(allowed))

    def test_no_answer_ends_before_min_tokens(self):
        ending = {"max_tokens": 9, "logit_bias": {self.model.eos_token_ids[0]: 100.0}}
        for least in [0, 1, 2, 8]:
            answer = self.answer(min_tokens=least, **ending)
            self.assertEqual(answer.ids.index(self.model.eos_token_ids[0]), least)
            self.assertEqual(len(answer.ids), least + 1)
            self.assertEqual(answer.finish_reason, pb.FINISH_REASON_STOP)
        self.assertEqual(self.answer(min_tokens=9, **ending).finish_reason,
                         pb.FINISH_REASON_LENGTH)

    def test_rules_that_leave_nothing_end_with_what_came_before(self):
        answer = self.answer(allowed_token_ids=[40], bad_word_ids=[pb.TokenIds(ids=[40, 40, 40])],
                             max_tokens=9)
        self.assertEqual(answer.ids, [40, 40])
        self.assertEqual(answer.finish_reason, pb.FINISH_REASON_ERROR)
        self.assertEqual(answer.code, grpc.StatusCode.INVALID_ARGUMENT)
        self.assertIn("allowed_token_ids", answer.call.details())

    def test_penalties_make_repeats_rarer(self):
        plain = self.answer(**{**GREEDY, "max_tokens": 100})
        for field in ["frequency_penalty", "presence_penalty"]:
            penalised = self.answer(**{**GREEDY, "max_tokens": 100, field: 2.0})
            self.assertGreater(len(set(penalised.ids)), len(set(plain.ids)))

    def test_a_stop_string_may_be_included(self):
        whole = self.answer(**GREEDY)
        stop = whole.text[5:9]
        cut = self.answer(stop=[stop], include_stop=True, **GREEDY)
        self.assertEqual(cut.text, whole.text[:whole.text.index(stop) + len(stop)])

    def test_special_tokens_have_text_where_they_are_shown(self):
        eos = self.model.eos_token_ids[0]
        fields = {"max_tokens": 3, "ignore_eos": True, "logit_bias": {eos: 100.0}}
        shown = self.answer(skip_special_tokens=False, **fields)
        self.assertEqual(shown.ids, [eos] * 3)
        self.assertEqual(shown.text, self.decode([eos] * 3, skip_special_tokens=False))
        self.assertGreater(len(shown.text), 0)
        self.assertEqual(self.answer(**fields).text, "")

    def test_a_truncated_prompt_answers_as_its_end(self):
        ids = self.server.stub.Tokenize(pb.TokenizeRequest(text="Once Anna has"), timeout=TIMEOUT)
        tail = list(ids.token_ids)[-2:]
        cut = self.answer("Once Anna has", truncate_prompt_tokens=2, echo=True, **GREEDY)
        self.assertEqual(cut.prompt_ids, tail)
        self.assertEqual(cut.ids, self.answer(token_ids=pb.TokenIds(ids=tail), **GREEDY).ids)

    def test_messages_have_as_many_tokens_as_asked_for(self):
        answer = self.answer(message_interval=10, **GREEDY)
        self.assertEqual(len(answer.ids), 24)
        for message in answer.messages[:-1]:
            self.assertGreaterEqual(len(message.token_ids), 10)

    def test_a_bad_field_is_refused_by_name(self):
        for fields in [{"n": 5}, {"n": 0}, {"top_logprobs": 7}, {"prompt_logprobs": 7},
                       {"logit_bias": {1 << 20: 1.0}}, {"logit_bias": {1: 101.0}},
                       {"min_tokens": 9, "max_tokens": 8}, {"allowed_token_ids": [1 << 20]},
                       {"bad_words": [""]}, {"frequency_penalty": 2.5}, {"presence_penalty": -3.0},
                       {"truncate_prompt_tokens": 0}, {"message_interval": 0}]:
            answer = self.answer(**fields)
            self.assertEqual(answer.code, grpc.StatusCode.INVALID_ARGUMENT, fields)
            self.assertIn(next(iter(fields)), answer.call.details())
            self.assertEqual(answer.messages, [])


if __name__ == "__main__":
    unittest.main()
