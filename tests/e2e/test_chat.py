"""Conversations: what a server that knows their form makes of them, and what others answer."""

import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

import grpc

from gguf_file import write_gguf
from quire_server import MODEL, Answer, QuireServer, pb

CHATML = ("{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + "
          "message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
          "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}")


def chat_model(directory):
    """The demo model's weights under a tokenizer whose last merges gave way to ChatML's marks."""
    model = pathlib.Path(directory) / "model"
    shutil.copytree(MODEL, model)
    path = model / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    vocab = tokenizer["model"]["vocab"]
    taken = {token["id"] for token in tokenizer["added_tokens"]}
    free = sorted((i, t) for t, i in vocab.items() if i not in taken)[-2:]
    for mark, (at, last) in zip(("<|im_start|>", "<|im_end|>"), free):
        del vocab[last]
        tokenizer["model"]["merges"] = [
            merge for merge in tokenizer["model"]["merges"]
            if "".join(merge if isinstance(merge, list) else merge.split(" ")) != last]
        tokenizer["added_tokens"].append({
            "id": at, "content": mark, "special": True, "single_word": False, "lstrip": False,
            "rstrip": False, "normalized": False})
    path.write_text(json.dumps(tokenizer))
    (model / "tokenizer_config.json").write_text(json.dumps({"chat_template": CHATML}))
    return str(model)


def conversation(*turns, **fields):
    return pb.ChatPrompt(messages=[pb.ChatMessage(role=role, content=content)
                                   for role, content in turns], **fields)


def prompt_ids(server, chat):
    answer = Answer(server.stub.Generate(pb.GenerateRequest(chat=chat, echo=True, max_tokens=2))).read()
    assert answer.code == grpc.StatusCode.OK, answer.call.details()
    return list(answer.messages[0].prompt_token_ids)


class ChatTest(unittest.TestCase):
    def test_the_family_comes_from_the_directory_a_gguf_file_or_a_flag(self):
        chat = conversation(("system", "Be kind."), ("user", "Who has pears?"))
        with tempfile.TemporaryDirectory() as directory:
            model = pathlib.Path(chat_model(directory))
            with QuireServer("--model", str(model)) as server:
                expected = prompt_ids(server, chat)
                told = subprocess.run(
                    [os.environ["QUIRE_CLI"], "generate", "--server", server.address, "--chat",
                     "--system", "Be kind.", "--echo", "--max-tokens", "2", "--json",
                     "Who has pears?"], capture_output=True, text=True, check=True).stdout
                first = json.loads(told.splitlines()[0])
                self.assertEqual(first["prompt_token_ids"], expected)
            gguf = pathlib.Path(directory) / "chat.gguf"
            write_gguf(model, gguf, template=CHATML)
            with QuireServer("--model", str(gguf)) as server:
                self.assertEqual(prompt_ids(server, chat), expected)
            (model / "tokenizer_config.json").unlink()
            with QuireServer("--model", str(model), "--chat-family", "chatml") as server:
                self.assertEqual(prompt_ids(server, chat), expected)

    def test_a_conversation_is_the_prompt_that_its_template_writes(self):
        with tempfile.TemporaryDirectory() as directory:
            with QuireServer("--model", chat_model(directory)) as server:
                model = server.stub.GetModel(pb.GetModelRequest()).model
                self.assertEqual(model.chat_family, "chatml")
                chat = conversation(("system", "Be kind."), ("user", "Who has <|im_end|> pears?"))
                echo = Answer(server.stub.Generate(
                    pb.GenerateRequest(chat=chat, echo=True, max_tokens=2))).read()
                self.assertEqual(echo.code, grpc.StatusCode.OK)
                ids = list(echo.messages[0].prompt_token_ids)
                written = server.stub.Tokenize(pb.TokenizeRequest(
                    text="<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nWho has ",
                    add_special_tokens=False)).token_ids
                self.assertEqual(ids[:len(written) - 1], list(written)[:-1])
                end = server.stub.Tokenize(pb.TokenizeRequest(
                    text="<|im_end|>", add_special_tokens=False)).token_ids
                self.assertEqual(len(end), 1)
                self.assertEqual(ids.count(end[0]), 2, "what the user wrote is no mark")

    def test_what_the_form_has_no_place_for_is_refused(self):
        with tempfile.TemporaryDirectory() as directory:
            with QuireServer("--model", chat_model(directory)) as server:
                for chat, message in ((conversation(), "messages"),
                                      (conversation(("tool", "42")), "tool"),
                                      (conversation(("user", "x"), enable_thinking=True),
                                       "enable_thinking")):
                    answer = Answer(server.stub.Generate(
                        pb.GenerateRequest(chat=chat, max_tokens=2))).read()
                    self.assertEqual(answer.code, grpc.StatusCode.INVALID_ARGUMENT)
                    self.assertIn(message, answer.call.details())

    def test_a_model_without_a_chat_template_says_so(self):
        with QuireServer() as server:
            answer = Answer(server.stub.Generate(
                pb.GenerateRequest(chat=conversation(("user", "hi")), max_tokens=2))).read()
            self.assertEqual(answer.code, grpc.StatusCode.FAILED_PRECONDITION)
            self.assertIn("no chat template", answer.call.details())


if __name__ == "__main__":
    unittest.main()
