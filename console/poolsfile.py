"""Pools files: ``pools.yaml`` and ``prices.yaml`` from text to checked specs.

Every mistake is a ``SpecError`` that names the path of the value to change; a field that does
not exist and a key that stands twice are mistakes too.  Numbers with a point become Decimal
without passing through a float, dates stay text.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
import yaml

from schemas.errors import SpecError
from schemas.pools import compile_pool, digest_of
from schemas.prices import PriceBook, effective_us
from schemas.specs import EntitlementSpec, PoolRecord, PoolSpec, unknown_fields
from simulation.mapping import MappingRule, TenantMapping, check_mapping

POOLS_MAX: Final = 1_000
FILE_BYTES_MAX: Final = 16 * 1_048_576

S = TypeVar("S", bound=msgspec.Struct)


class _Section(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True
):
    """Base of the sections under ``replay``."""


class MappingSection(_Section, frozen=True, kw_only=True):
    """``replay.mapping``: see ``simulation.mapping``."""

    rule: MappingRule = MappingRule.BY_NAME
    names: dict[str, str] = {}
    default: str = ""
    weights: dict[str, int] = {}

    @property
    def tenants(self) -> TenantMapping:
        """The rule as the replayer uses it."""
        return TenantMapping(
            rule=self.rule, names=self.names, default=self.default, weights=self.weights
        )


class ClientsSection(_Section, frozen=True, kw_only=True):
    """``replay.clients``: the manners of the simulated clients."""

    retries_max: int = 4
    retry_wait_ms_max: int = 10_000
    in_flight_max: int = 4_000
    demotion: tuple[str, ...] = ()
    """Entitlements whose callers take service as spot beyond their own limit."""


class EngineSection(_Section, frozen=True, kw_only=True):
    """``replay.engine``: the simulated engines."""

    start_delay_ms: int = 4_000
    prefill_ms: int = 200


class ReplaySection(_Section, frozen=True, kw_only=True):
    """``replay``: how traffic is sent to these pools; ``tokenpools up`` does not need it."""

    workload: str = ""
    """The workload that fits these pools; ``--workload`` and ``--trace`` come first."""
    mapping: MappingSection = MappingSection()
    clients: ClientsSection = ClientsSection()
    engine: EngineSection = EngineSection()


class PoolsFile(msgspec.Struct, frozen=True, kw_only=True):
    """A pools file whose every pool compiles."""

    records: tuple[PoolRecord, ...]
    """With their digests; ``applied_us`` is for whoever publishes them."""
    replay: ReplaySection = ReplaySection()


def read_pools(path: Path) -> PoolsFile:
    """Return the pools in a file."""
    return parse_pools(_text(path))


def read_prices(path: Path) -> PriceBook:
    """Return the prices in a file."""
    return parse_prices(_text(path))


def parse_pools(text: str) -> PoolsFile:
    """Return the pools in the text of a pools file."""
    raw = _load(text)
    _check_fields(raw, ("pools", "entitlements", "replay"))
    pools = _each(raw, "pools", PoolSpec)
    entitlements = _each(raw, "entitlements", EntitlementSpec)
    _check_names(pools, entitlements)
    replay = _convert(raw.get("replay") or {}, ReplaySection, path="replay")
    check_mapping(replay.mapping.tenants, entitlements=[each.uid for each in entitlements])
    _check_demotion(replay.clients.demotion, entitlements)
    records = tuple(_record(pool, entitlements) for pool in pools)
    return PoolsFile(records=records, replay=replay)


def parse_prices(text: str) -> PriceBook:
    """Return the prices in the text of a price list."""
    book = _convert(_load(text), PriceBook, path="")
    for number, price in enumerate(book.prices):
        try:
            effective_us(price)
        except SpecError as error:
            raise _at(f"prices[{number}].effectiveFrom", error) from error
    return book


def _record(pool: PoolSpec, entitlements: Sequence[EntitlementSpec]) -> PoolRecord:
    """Return the pool with its entitlements and digest, after compiling it as a check."""
    own = tuple(each for each in entitlements if each.pool_ref.name == pool.name)
    record = PoolRecord(pool=pool, entitlements=own)
    compile_pool(record)
    return msgspec.structs.replace(record, digest=digest_of(record))


def _check_names(pools: Sequence[PoolSpec], entitlements: Sequence[EntitlementSpec]) -> None:
    """Refuse a file without pools, a pool named twice, and an entitlement of no pool in it."""
    if not 1 <= len(pools) <= POOLS_MAX:
        raise SpecError("pools", f"needs 1 to {POOLS_MAX} pools, has {len(pools)}")
    names = [pool.name for pool in pools]
    for number, name in enumerate(names):
        if name in names[:number]:
            raise SpecError(f"pools[{number}].name", f"{name!r} is used twice")
    for number, each in enumerate(entitlements):
        if each.pool_ref.name not in names:
            path = f"entitlements[{number}].poolRef.name"
            raise SpecError(path, f"no pool {each.pool_ref.name!r} in this file")


def _check_demotion(uids: Sequence[str], entitlements: Sequence[EntitlementSpec]) -> None:
    """Refuse a name that is no entitlement, and one whose class cannot be demoted."""
    classes = {each.uid: each.qos.service_class for each in entitlements}
    for number, uid in enumerate(uids):
        path = f"replay.clients.demotion[{number}]"
        if uid not in classes:
            raise SpecError(path, f"no entitlement {uid!r} in this file")
        if not classes[uid].has_baseline:
            raise SpecError(path, f"{uid!r} has no baseline beyond which it could be demoted")


def _each(raw: Mapping[str, Any], name: str, kind: type[S]) -> list[S]:
    found = raw.get(name) or []
    if not isinstance(found, list):
        raise SpecError(name, "must be a list")
    return [_convert(each, kind, path=f"{name}[{number}]") for number, each in enumerate(found)]


def _convert(raw: object, kind: type[S], *, path: str) -> S:
    unknown = unknown_fields(raw, kind, path=path)
    if unknown:
        raise SpecError(unknown[0], "there is no such field")
    try:
        return msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:
        message, _, where = str(error).partition(" - at `$")
        raise SpecError(f"{path}{where.rstrip('`')}".lstrip("."), message) from error


def _check_fields(raw: Mapping[str, Any], known: Sequence[str]) -> None:
    for name in raw:
        if name not in known:
            raise SpecError(str(name), f"there is no such field; known: {', '.join(known)}")


def _at(path: str, error: SpecError) -> SpecError:
    return SpecError(path, str(error).partition(": ")[2])


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise SpecError(str(path), f"is larger than {FILE_BYTES_MAX} bytes")
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(str(path), f"cannot be read: {error}") from error


def _load(text: str) -> dict[str, Any]:
    try:
        raw = yaml.load(text, Loader=_SpecLoader)  # a SafeLoader: it makes plain values only
    except (yaml.YAMLError, RecursionError) as error:
        raise SpecError("yaml", " ".join(str(error).split())) from error
    if not isinstance(raw, dict):
        raise SpecError("yaml", "the file must be a mapping with pools, or with prices")
    return raw


class _SpecLoader(yaml.SafeLoader):
    """Plain YAML, but: Decimal for numbers with a point, text for dates, no key twice."""


def _decimal(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> Decimal:
    text = str(loader.construct_scalar(node)).replace("_", "")
    try:
        number = Decimal(text)
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite():
        raise yaml.constructor.ConstructorError(
            None, None, f"{text!r} is no finite decimal number", node.start_mark
        )
    return number


def _plain_text(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> str:
    return str(loader.construct_scalar(node))


def _unique_mapping(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[Hashable, Any]:
    seen: set[str] = set()
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise yaml.constructor.ConstructorError(
                None, None, "a key must be plain text", key.start_mark
            )
        if key.value in seen:
            raise yaml.constructor.ConstructorError(
                None, None, f"the key {key.value!r} stands twice", key.start_mark
            )
        seen.add(str(key.value))
    loader.flatten_mapping(node)
    return dict(loader.construct_pairs(node, deep=True))


_SpecLoader.add_constructor("tag:yaml.org,2002:float", _decimal)
_SpecLoader.add_constructor("tag:yaml.org,2002:timestamp", _plain_text)
_SpecLoader.add_constructor("tag:yaml.org,2002:map", _unique_mapping)
