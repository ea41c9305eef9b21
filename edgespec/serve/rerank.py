"""`/v1/rerank`: texts by how well they answer a question, in Jina's form and in that of Text Embeddings Inference, as llama-server has them."""

from edgespec.serve.embeddings import MOST_TEXTS, numbers_of
from edgespec.serve.errors import CONTEXT, ApiError, invalid
from edgespec.serve.exchange import Exchange
from edgespec.serve.fields import Fields
from edgespec.serve.service import Service
from edgespec.session.shared.asked import Embed, Embedded


async def rerank(service: Service, exchange: Exchange) -> None:
    """Ranks texts."""
    fields = exchange.fields
    # Text Embeddings Inference says `texts`, and has another form of answer.
    key = "documents" if fields.has("documents") else "texts"
    query, texts = fields.needed_text("query"), _read_texts(fields, key)
    top_n = fields.whole("top_n", 1)
    returns_text = key == "texts" and fields.flag("return_text")
    async with service.engine_for(fields) as (engine, served):
        if engine.opened is None or not engine.opened.ranks:
            said = f"{served.id} is no reranker; name one, or compare vectors of /v1/embeddings"
            raise ApiError(501, said, "model", "rerank_not_supported")
        try:
            told = await engine.embed(Embed(0, texts, norm=-1, query=query))
        except ApiError as error:
            error.param = key if error.code == CONTEXT else error.param
            raise
    results = _ranked(told, "score" if key == "texts" else "relevance_score", top_n)
    if returns_text:
        results = [one | {"text": texts[int(str(one["index"]))]} for one in results]
    usage = {"prompt_tokens": told.prompt_n, "total_tokens": told.prompt_n}
    whole = {"model": served.id, "object": "list", "usage": usage, "results": results}
    await exchange.reply(results if key == "texts" else whole)


def _read_texts(fields: Fields, key: str) -> tuple[str, ...]:
    value = fields.values.get(key)
    if value is None:
        raise fields.missing("documents")
    if not isinstance(value, list) or not value or not all(isinstance(one, str) for one in value):
        raise invalid(key, "is no array of texts, one at least")
    if len(value) > MOST_TEXTS:
        raise invalid(key, f"has {len(value)} texts; the most are {MOST_TEXTS}")
    return tuple(value)


def _ranked(told: Embedded, label: str, top_n: int | None) -> list[dict[str, object]]:
    """The best first; those that are alike in their own order."""
    scores = [numbers_of(vector)[0] for vector in told.vectors]
    places = sorted(range(len(scores)), key=lambda place: -scores[place])
    return [{"index": place, label: scores[place]} for place in places[:top_n]]
