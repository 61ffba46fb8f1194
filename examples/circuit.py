"""The heads that look numbers up: found, checked against real patches, removed. Seconds on one core."""

from headscope.circuits import attribute, exact_heads, faithfulness_curve, select
from headscope.interventions import zero
from headscope.lab.pairs import lab_pairs
from headscope.models import load_model

subject = load_model("lab-m")  # or any Hugging Face id; a plain model does as well
pairs = lab_pairs(subject.tokenizer, 16, kind="leaf")  # another starting number; or Pairs.from_text …
print(pairs)

scores = attribute(subject, pairs)  # EAP-IG; scores.edges: float32 [sources, destinations]
print(scores)
print(select(scores, fraction=0.02))  # a pruned circuit
print(faithfulness_curve(subject, pairs, scores))  # circuits of all sizes; MIB's areas CPR and CMD
print(exact_heads(subject, pairs))  # every head's output replaced by that of the corrupt text

question = [{"role": "user", "content": "c=4; j=c*4; a=c+8; ?j"}]
prompt = subject.tokenizer.apply_chat_template(question, add_generation_prompt=True, tokenize=False)
inputs = subject.tokenizer(prompt + "<think> j=", return_tensors="pt")
top = scores.top_heads(1)
print("whole:", subject.tokenizer.decode(subject.model.generate(**inputs, max_new_tokens=40)[0]))
with zero(subject, top):
    print(f"without {top[0]}:", subject.tokenizer.decode(subject.model.generate(**inputs, max_new_tokens=40)[0]))
