"""Another library behind a few lines of FastAPI: no events are kept, no reasons are given; in the peers' environment.

python serve.py interactions.csv.gz --method implicit|rectools --port 8770
"""

import argparse

import numpy as np
import pandas as pd
import uvicorn
from fastapi import FastAPI
from implicit.als import AlternatingLeastSquares
from scipy import sparse

app = FastAPI()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("events")
    parser.add_argument("--method", choices=["implicit", "rectools"], default="implicit")
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    log = pd.read_csv(options.events, dtype={"user_id": str, "item_id": str})
    users, items = log["user_id"].astype("category"), log["item_id"].astype("category")
    row_of = {user: row for row, user in enumerate(users.cat.categories)}
    names = list(items.cat.categories)
    seen = sparse.csr_matrix((np.ones(len(log), np.float32), (users.cat.codes, items.cat.codes)))
    model = AlternatingLeastSquares(factors=64, iterations=10, num_threads=1)

    if options.method == "implicit":
        model.fit(seen, show_progress=False)

        def best(user: str) -> list[str]:
            row = row_of[user]
            return [names[item] for item in model.recommend(row, seen[row], N=10)[0]]

    else:
        from rectools.dataset import Dataset
        from rectools.models import ImplicitALSWrapperModel

        dataset = Dataset.construct(log.assign(weight=1, datetime=pd.Timestamp("2024-01-01")))
        ranked = ImplicitALSWrapperModel(model).fit(dataset)

        def best(user: str) -> list[str]:
            found = ranked.recommend([user], dataset, k=10, filter_viewed=True)
            return list(found["item_id"])

    @app.get("/api/recommend/{user}")
    def recommend(user: str) -> dict[str, list[str]]:
        return {"items": best(user)}

    @app.post("/api/feedback")
    def feedback(events: list[dict]) -> dict[str, int]:  # taken, and kept nowhere
        return {"accepted": len(events)}

    @app.get("/api/health/ready")
    def ready() -> dict[str, str]:
        return {"status": "ready"}

    uvicorn.run(app, host="127.0.0.1", port=options.port, access_log=False, log_level="warning")


main()
