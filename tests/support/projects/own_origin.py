"""A page on an origin of its own: FastAPI with JWT in `api/`, React with Vite in `web/`."""

from __future__ import annotations

from tests.support.projects import WRITES_ITEMS, Project

FILES = {
    "api/app/__init__.py": "",
    "api/pyproject.toml": """\
[project]
name = "shop-api"
version = "0.1.0"
requires-python = ">=3.11"
dependencies = [
    "fastapi[standard]>=0.115",
    "pyjwt>=2.8",
    "sqlalchemy[asyncio]>=2.0",
    "asyncpg>=0.30",
    "pydantic-settings>=2.6",
]

[dependency-groups]
dev = ["pytest>=8", "ruff>=0.8"]

[tool.ruff]
line-length = 100

[tool.ruff.lint]
select = ["E", "F", "I", "UP", "B"]
""",
    "api/.env": """\
DATABASE_URL=<sqlalchemy>
SECRET_KEY=dev-secret-that-is-long-enough-for-hs256
CORS_ORIGINS=["http://localhost:5173"]
""",
    "api/app/settings.py": """\
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_file=".env")

    database_url: str
    secret_key: str
    cors_origins: list[str] = []


settings = Settings()
""",
    "api/app/db.py": """\
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine

from app.settings import settings

engine = create_async_engine(settings.database_url)
Session = async_sessionmaker(engine, expire_on_commit=False)
""",
    "api/app/models.py": """\
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    pass


class Item(Base):
    __tablename__ = "items"
    id: Mapped[int] = mapped_column(primary_key=True)
    owner_id: Mapped[int]
    title: Mapped[str]
""",
    "api/app/auth.py": """\
from datetime import UTC, datetime, timedelta
from typing import Annotated

import jwt
from fastapi import Depends, HTTPException
from fastapi.security import OAuth2PasswordBearer

from app.settings import settings

ALGORITHM = "HS256"
oauth2_scheme = OAuth2PasswordBearer(tokenUrl="login")


def create_access_token(subject: str) -> str:
    expires = datetime.now(UTC) + timedelta(hours=8)
    return jwt.encode({"sub": subject, "exp": expires}, settings.secret_key, algorithm=ALGORITHM)


def current_user(token: Annotated[str, Depends(oauth2_scheme)]) -> int:
    try:
        return int(jwt.decode(token, settings.secret_key, algorithms=[ALGORITHM])["sub"])
    except jwt.InvalidTokenError:
        raise HTTPException(401) from None


CurrentUser = Annotated[int, Depends(current_user)]
""",
    "api/app/main.py": """\
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi.security import OAuth2PasswordRequestForm
from sqlalchemy import select

from app.auth import CurrentUser, create_access_token
from app.db import Session, engine
from app.models import Base, Item
from app.settings import settings


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    yield


app = FastAPI(title="Shop", lifespan=lifespan)
app.add_middleware(
    CORSMiddleware,
    allow_origins=settings.cors_origins,
    allow_credentials=True,
    allow_methods=["*"],
    allow_headers=["*"],
)


@app.post("/login")
async def login(form: Annotated[OAuth2PasswordRequestForm, Depends()]) -> dict[str, str]:
    return {"access_token": create_access_token("7"), "token_type": "bearer"}


@app.get("/items")
async def items(user: CurrentUser) -> list[dict[str, object]]:
    async with Session() as session:
        found = await session.scalars(select(Item).where(Item.owner_id == user))
        return [{"id": item.id, "title": item.title} for item in found]
""",
    "api/tests/test_login.py": """\
from fastapi.testclient import TestClient

from app.main import app


def test_login() -> None:
    answer = TestClient(app).post("/login", data={"username": "ada", "password": "x"})
    assert answer.status_code == 200
""",
    "web/src/api.ts": """\
const API_URL = import.meta.env.VITE_API_URL ?? 'http://localhost:8000'

export async function login(username: string, password: string): Promise<void> {
  const body = new URLSearchParams({ username, password })
  const answer = await fetch(`${API_URL}/login`, { method: 'POST', body })
  if (!answer.ok) throw new Error('the login failed')
  const { access_token } = (await answer.json()) as { access_token: string }
  localStorage.setItem('access_token', access_token)
}

export async function items(): Promise<{ id: number; title: string }[]> {
  const token = localStorage.getItem('access_token') ?? ''
  const answer = await fetch(`${API_URL}/items`, { headers: { Authorization: `Bearer ${token}` } })
  if (!answer.ok) throw new Error('the items cannot be read')
  return answer.json()
}
""",
    "web/src/App.tsx": """\
import { useEffect, useState } from 'react'
import { items, login } from './api'

function App() {
  const [list, setList] = useState<{ id: number; title: string }[]>([])
  useEffect(() => {
    void login('ada', 'x').then(items).then(setList)
  }, [])
  return (
    <ul>
      {list.map((item) => (
        <li key={item.id}>{item.title}</li>
      ))}
    </ul>
  )
}

export default App
""",
    "web/.prettierrc": '{ "semi": false, "singleQuote": true }\n',
}
APP = """\
import { useEffect, useState } from 'react'
import { login } from './api'
import { Items } from './Items'

export default function App() {
  const [isIn, setIsIn] = useState(localStorage.getItem('access_token') !== null)
  useEffect(() => {
    if (!isIn) void login('ada', 'x').then(() => setIsIn(true))
  }, [isIn])
  return isIn ? <Items /> : <p>logging in</p>
}
"""
TABLES = (
    "python -c 'import asyncio; from app.main import app, lifespan; asyncio.run(lifespan(app).__aenter__())'"
)
GUARD = """\
@owner.guard
async def is_own(viewer: Viewer, owner_id: int) -> bool:
    return viewer.subject == str(owner_id)


realtime = Realtime(
    authorizer=JwtAuthorizer(settings.secret_key, algorithm="HS256"),
"""
REALTIME = "api/app/realtime.py"
OWN_ORIGIN = Project(
    ("npm create -y vite@latest web -- --template react-ts --no-interactive",),
    FILES,
    "app.main:app",
    (TABLES,),
    root="api",
    web="web",
    page={"web/src/Items.tsx": WRITES_ITEMS, "web/src/App.tsx": APP},
    edits=(
        (REALTIME, "    channels,\n", "    channels=channels,\n"),
        (REALTIME, "realtime = Realtime(\n", GUARD),
        (REALTIME, "import Channels, Event, ", "import Channels, Event, JwtAuthorizer, Viewer, "),
    ),
    tidy=("npx oxlint", "npx prettier --check src"),
    environment={},
    own_origin=True,
)
