"""A project like FastAPI's full-stack template: `backend/` with SQLAlchemy, `frontend/` with Vite."""

from __future__ import annotations

from tests.support.journeys import MODELS, REVISION

FILES = {
    ".env": "PROJECT_NAME=shop\nPOSTGRES_DB=app\n",
    "backend/pyproject.toml": """\
[project]
name = "app"
version = "0.1.0"
dependencies = [
    "fastapi[standard]<1.0.0,>=0.114.2",
    "alembic<2.0.0,>=1.12.1", # the database's revisions
]

[dependency-groups]
dev = ["pytest<8.0.0,>=7.4.3"]
""",
    "backend/app/__init__.py": "",
    "backend/app/core/__init__.py": "",
    "backend/app/core/config.py": """\
import os


class Settings:
    SECRET_KEY = "changethis"

    @property
    def SQLALCHEMY_DATABASE_URI(self) -> str:
        return os.environ["SHOP_DATABASE"].replace("postgresql://", "postgresql+psycopg://", 1)


settings = Settings()
""",
    "backend/app/core/db.py": """\
from sqlalchemy import create_engine

from app.core.config import settings

engine = create_engine(str(settings.SQLALCHEMY_DATABASE_URI))
""",
    "backend/app/models.py": MODELS,
    "backend/app/main.py": """\
from fastapi import FastAPI

from app.core.db import engine

app = FastAPI()


@app.get("/health")
def health() -> str:
    return engine.dialect.name
""",
    "backend/alembic.ini": "[alembic]\nscript_location = app/alembic\nprepend_sys_path = .\n",
    "backend/app/alembic/env.py": """\
from alembic import context

from app.core.db import engine
from app.models import Base

with engine.connect() as connection:
    context.configure(connection=connection, target_metadata=Base.metadata)
    with context.begin_transaction():
        context.run_migrations()
""",
    "backend/app/alembic/versions/e2412789c190_initial.py": REVISION,
    "frontend/package.json": """\
{
  "name": "frontend",
  "private": true,
  "type": "module",
  "dependencies": {
    "@tanstack/react-query": "5.108.0",
    "react": "19.3.1",
    "react-dom": "19.3.1"
  },
  "devDependencies": {
    "@biomejs/biome": "2.6.8",
    "vite": "8.3.8"
  }
}
""",
    "frontend/tsconfig.json": """\
{
  "compilerOptions": {
    "target": "ES2022", "lib": ["ES2022", "DOM"], "module": "ESNext", "moduleResolution": "bundler",
    "jsx": "react-jsx", "strict": true, "noEmit": true, "skipLibCheck": true, "types": []
  },
  "include": ["src"]
}
""",
    "frontend/vite.config.ts": """\
import react from "@vitejs/plugin-react"
import { defineConfig } from "vite"

// https://vitejs.dev/config/
export default defineConfig({
  plugins: [react()],
})
""",
    "frontend/src/App.tsx": "export function App() {\n  return <p>shop</p>\n}\n",
    "frontend/src/main.tsx": """\
import { QueryClient, QueryClientProvider } from "@tanstack/react-query"
import { StrictMode } from "react"
import ReactDOM from "react-dom/client"
import { App } from "./App"

const queryClient = new QueryClient()

ReactDOM.createRoot(document.getElementById("root")!).render(
  <StrictMode>
    <QueryClientProvider client={queryClient}>
      <App />
    </QueryClientProvider>
  </StrictMode>,
)
""",
}  # fmt: skip
