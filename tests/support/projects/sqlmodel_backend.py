"""FastAPI's full-stack template: SQLModel and Alembic in `backend/`, React and Biome in `frontend/`."""

from __future__ import annotations

from tests.support.full_stack import FILES
from tests.support.projects import WRITES_ITEMS, Project

MODELS = """\
from sqlmodel import Field, SQLModel


class Item(SQLModel, table=True):
    __tablename__ = "items"
    id: int | None = Field(default=None, primary_key=True)
    owner_id: int
    title: str = Field(max_length=255)
"""
CONFIG = """\
import os

from pydantic_settings import BaseSettings


class Settings(BaseSettings):
    SECRET_KEY: str = "changethis-changethis-changethis-changethis"
    CORS_ORIGINS: list[str] = []

    @property
    def all_cors_origins(self) -> list[str]:
        return [origin.rstrip("/") for origin in self.CORS_ORIGINS]

    @property
    def SQLALCHEMY_DATABASE_URI(self) -> str:
        return os.environ["SHOP_DATABASE"].replace("postgresql://", "postgresql+psycopg://", 1)


settings = Settings()
"""
MAIN = """\
from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from app.core.config import settings

app = FastAPI()

if settings.all_cors_origins:
    app.add_middleware(
        CORSMiddleware,
        allow_origins=settings.all_cors_origins,
        allow_credentials=True,
        allow_methods=["*"],
        allow_headers=["*"],
    )
"""
MAIN_TSX = """\
import { QueryClient, QueryClientProvider } from "@tanstack/react-query"
import { StrictMode } from "react"
import ReactDOM from "react-dom/client"
import { App } from "./App"
import { OpenAPI } from "./client"

OpenAPI.BASE = import.meta.env.VITE_API_URL
OpenAPI.TOKEN = async () => {
  return localStorage.getItem("access_token") || ""
}

const queryClient = new QueryClient()

ReactDOM.createRoot(document.getElementById("root")!).render(
  <StrictMode>
    <QueryClientProvider client={queryClient}>
      <App />
    </QueryClientProvider>
  </StrictMode>,
)
"""
CLIENT = """\
export const OpenAPI = {
  BASE: "",
  TOKEN: async () => "",
}
"""
PACKAGE = """\
{
  "name": "frontend",
  "private": true,
  "type": "module",
  "scripts": {
    "build": "tsc -p tsconfig.json && vite build",
    "lint": "biome check --no-errors-on-unmatched --files-ignore-unknown=true src"
  },
  "dependencies": {
    "@tanstack/react-query": "^5.100.0",
    "react": "^19.1.1",
    "react-dom": "^19.1.1"
  },
  "devDependencies": {
    "@biomejs/biome": "^2.3.0",
    "@types/react": "^19.1.0",
    "@types/react-dom": "^19.1.0",
    "@vitejs/plugin-react": "^6.0.0",
    "typescript": "^6.0.0",
    "vite": "^8.0.0"
  }
}
"""
BIOME = """\
{
  "assist": { "actions": { "source": { "organizeImports": "on" } } },
  "linter": {
    "enabled": true,
    "rules": { "recommended": true, "style": { "noNonNullAssertion": "off" } }
  },
  "formatter": { "indentStyle": "space" },
  "javascript": { "formatter": { "quoteStyle": "double", "semicolons": "asNeeded" } }
}
"""
INDEX = """\
<!doctype html>
<html lang="en">
  <head>
    <title>Shop</title>
    <link rel="icon" href="data:," />
  </head>
  <body>
    <div id="root"></div>
    <script type="module" src="./src/main.tsx"></script>
  </body>
</html>
"""
APP = """\
import { Items } from "./Items"

export function App() {
  return <Items />
}
"""
ENV = FILES["backend/app/alembic/env.py"].replace(
    "from app.models import Base\n", "from app.models import SQLModel\n"
)
SQLMODEL_BACKEND = Project(
    (),
    {
        **FILES,
        "backend/app/core/config.py": CONFIG,
        "backend/app/main.py": MAIN,
        "backend/app/models.py": MODELS,
        "backend/app/alembic/env.py": ENV.replace("Base.metadata", "SQLModel.metadata"),
        "frontend/package.json": PACKAGE,
        "frontend/biome.json": BIOME,
        "frontend/index.html": INDEX,
        "frontend/src/client.ts": CLIENT,
        "frontend/src/main.tsx": MAIN_TSX,
        "frontend/src/vite-env.d.ts": '/// <reference types="vite/client" />\n',
    },
    "app.main:app",
    ("alembic upgrade head",),
    root="backend",
    web="frontend",
    page={"frontend/src/Items.tsx": WRITES_ITEMS, "frontend/src/App.tsx": APP},
    tidy=("npm run lint",),
    environment={"SHOP_DATABASE": "<dsn>"},
    own_origin=True,
)
