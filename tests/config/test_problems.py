"""Every mistake in a config is found at start, and shown where it stands with the way out."""

from __future__ import annotations

import pytest

from tests.config.conftest import Written

S, E, R = "sources/erp.yaml", "entities/company.yaml", "rules/company.yaml"
SURVIVES = "survivorship.fields.name"
SINCE = "survivorship.fields.since"
NAMED = "streams.customers.fields.name.zone"
FIELDS = """fields:
      name: CustomerName
      tax_id: TaxNumber
      limit: CreditLimit
      region: Region
"""

MISTAKES = {
    "unknown key": (R, "severity:", "severty:", 5, "rules.halved.severty", 'did you mean "severity"?'),
    "unknown top key": (E, "drift:", "drifts:", 13, "drifts", 'did you mean "drift"?'),
    "not one of": (R, "critical", "criticl", 5, "rules.halved.severity", 'did you mean "critical"?'),
    "lacks a key": (R, '    title: "{name}: {old} to {new}"\n', "", 4, "rules.halved", "lacks title"),
    "wrong type": (E, "scale: 2", "scale: two", 8, "fields.limit.scale", "is no whole number"),
    "twice": (E, "  region: {type: string}\n", "  name: {type: json}\n", 7, "fields.name", "twice"),
    "bad YAML": (E, "{type: date}", "{type: date", 10, "", "is not YAML"),
    "unknown type": (E, "{type: date}", "{type: dat}", 9, "fields.since.type", 'did you mean "date"?'),
    "scale of a text": (E, "name: {type: string}", "name: {type: string, scale: 2}", 5, "fields.name", "to decimals"),
    "currency": (E, "scale: 2}", "currency: curency}", 8, "fields.limit.currency", "there is no field 'curency'"),
    "word taken": (E, "since: {type: date}", "old: {type: date}", 9, "fields.old", "no field can be called old"),
    "entity taken": (E, "entity: company", "entity: feed", 1, "entity", "alerts use the word"),
    "match key": (E, "digits(tax_id)", "digits(taxid)", 2, "match_key", "did you mean tax_id?"),
    "match key no text": (E, "digits(tax_id)", "limit", 2, "match_key", "is a double, not a string"),
    "match key constant": (E, "digits(tax_id)", "\"'x'\"", 2, "match_key", "names no field"),
    "match key unmapped": (S, "      tax_id: TaxNumber\n", "", 2, "match_key", "which no stream gives"),
    "partition": (E, "partition_by: region", "partition_by: regin", 3, "partition_by", 'did you mean "region"?'),
    "partition unmapped": (S, "      region: Region\n", "", 9, "streams.customers.fields", "lacks region"),
    "rank of nobody": (E, "[erp]", "[erpp]", 12, "survivorship.ranks.default", 'did you mean "erp"?'),
    "rank twice": (E, "[erp]", "[erp, erp]", 12, "survivorship.ranks.default", "names a source twice"),
    "rank without ranks": (E, "  ranks: {default: [erp]}\n", "", 11, "survivorship.default", "rank needs ranks"),
    "strategy": (E, "[rank, recent]", "[rank, newest]", 11, "survivorship.default.1", "is not allowed"),
    "highest text": (E, "default: [erp]}", "default: [erp]}\n  fields: {name: [highest]}", 13, SURVIVES, "highest"),
    "longest date": (E, "default: [erp]}", "default: [erp]}\n  fields: {since: [longest]}", 13, SINCE, "no date is"),
    "drift of nothing": (E, "  limit: {relative", "  limt: {relative", 14, "drift.limt", 'did you mean "limit"?'),
    "drift misplaced": (E, "{ignore: [case]}", "{absolute: 1}", 15, "drift.name.absolute", "means nothing to a string"),
    "anomaly of a text": (E, "  limit: {by: region}", "  name: {by: region}", 17, "anomalies.name", "a baseline"),
    "anomaly scattered": (E, "{by: region}", "{by: name}", 17, "anomalies.limit.by", "by: region"),
    "duration": (E, "{by: region}", "{refractory: 5 minutes}", 17, "anomalies.limit.refractory", "5m"),
    "stream's entity": (S, "entity: company", "entity: compny", 8, "streams.customers.entity", 'mean "company"?'),
    "stream's field": (S, "limit: CreditLimit", "limt: CreditLimit", 12, "streams.customers.fields.limt", "of company"),
    "connector": (S, "odata_v2", "odatav2", 2, "connector", 'did you mean "odata_v2"?'),
    "rules of nothing": (R, "entity: company", "entity: compny", 1, "entity", 'did you mean "company"?'),
    "no entity": (R, "entity: company\n", "", 3, "rules.halved", "is about an entity type"),
    "two kinds": (R, "change: limit", "change: limit\n    drift: limit", 4, "rules.halved", "change and drift at once"),
    "no kind": (R, "    change: limit\n    when: new <= old * 0.5\n", "", 4, "rules.halved", "says nothing to watch"),
    "key of another kind": (R, "change: limit", "change: limit\n    for: 1m", 4, "rules.halved", "for means nothing"),
    "changed nothing": (R, "change: limit", "change: limitt", 6, "rules.halved.change", 'did you mean "limit"?'),
    "drift undeclared": (R, "change: limit", "drift: since", 6, "rules.halved.drift", "add it under drift: in"),
    "anomaly undeclared": (R, "change: limit", "anomaly: since", 6, "rules.halved.anomaly", "under anomalies: in"),
    "any and one": (R, "change: limit", "change: [any, limit]", 6, "rules.halved.change", "any and single"),
    "condition's name": (R, "new <= old", "new <= olt", 7, "rules.halved.when", "did you mean old?"),
    "condition's kind": (R, "new <= old * 0.5", "name", 7, "rules.halved.when", "is a string, not a bool"),
    "condition's syntax": (R, "new <= old * 0.5", "new <=", 7, "rules.halved.when", "ends too soon"),
    "kinds of old": (R, "change: limit", "change: [limit, name]", 7, "rules.halved.when", "there is no 'new'"),
    "placeholder": (R, "{old} to", "{odl} to", 8, "rules.halved.title", 'did you mean "old"?'),
    "brace": (R, "{old} to", "{old to", 8, "rules.halved.title", "a brace that is no placeholder"),
    "feed's source": (R, "{source: erp,", "{source: epr,", 10, "rules.quiet.absence.source", 'did you mean "erp"?'),
    "feed's stream": (R, "stream: customers}", "stream: customer}", 10, "rules.quiet.absence.stream", '"customers"?'),
    "endless absence": (R, "    for: 10m\n", "", 9, "rules.quiet", "an absence needs for"),
    "query's file": (R, "many.kql", "mny.kql", 14, "rules.many.query", 'did you mean "many.kql"?'),
    "query outside": (R, "many.kql", "../../x.kql", 14, "rules.many.query", "pattern"),
    "query's key": (R, "    key: name\n", "", 13, "rules.many", "a query needs key"),
    "query's columns": (R, "key: name", "key: name\n    columns: [nam]", 15, "rules.many.key", 'did you mean "nam"?'),
    "query too often": (R, "key: name", "key: name\n    every: 10ms", 13, "rules.many", "at least 1s"),
    "unquoted !": (R, "new <= old * 0.5", "!has(since)", 7, "rules.halved.when", "quote"),
    "secret's value": (S, "odata_v2", "odata_v2\nauth: {kind: bearer, token: hunter2}", 3, "auth.token", "must name"),
    "plain http": (S, "{ERP_URL}/sap", "http://erp.example/sap", 3, "connection", "is not https"),
    "no address": (S, "{ERP_URL}/sap", "erp.example/sap", 3, "connection", "no address of a service"),
    "address with a query": (S, "{ERP_URL}/sap", "https://erp.example/sap?x=1", 3, "connection", "connection.query"),
    "a secret header": (S, '/sap"}', '/sap", headers: {X-API-Key: x}}', 3, "connection.headers", "auth: names it"),
    "a secret query": (S, '/sap"}', '/sap", query: {access_token: x}}', 3, "connection.query", "auth: names it"),
    "a way of signing in": (S, "odata_v2", "odata_v2\nauth: {kind: baerer}", 3, "auth.kind", 'mean "bearer"?'),
    "no way of signing in": (S, "odata_v2", "odata_v2\nauth: {user: x}", 3, "auth", "lacks kind (one of none, bearer,"),
    "a word for a mapping": (S, "odata_v2", "odata_v2\nauth: bearer", 3, "auth", "is no mapping"),
    "a word for a list": (S, "[Customer]", "Customer", 7, "streams.customers.primary_key", "is no list"),
    "zone of a text": (S, "name: CustomerName", "name: {from: N, zone: UTC}", 10, NAMED, "means nothing to a string"),
    "no such zone": (S, "name: CustomerName", "name: {from: N, zone: Berlin}", 10, NAMED, "an IANA name, such as"),
    "no fields": (S, FIELDS, "fields: {}\n", 9, "streams.customers.fields", "{} is too short (at least 1)"),
    "a name with a space": (S, "source: erp", "source: My ERP", 1, "source", "can't be a name (small letters"),
    "too often": (S, "odata_v2", "odata_v2\nevery: 0s", 3, "every", "is too short a time (at least 100ms)"),
    "many": (S, "odata_v2", "odata_v2\nlimits: {pages: many}", 3, "limits.pages", "is no whole number"),
    "runbook": (R, "change: limit", "change: limit\n    runbook: javascript:x", 7, "rules.halved.runbook", "pattern"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_shown_where_it_stands(written: Written, mistake: str) -> None:
    """File, line, dotted field, and what was meant or is allowed."""
    file, old, new, line, field, said = MISTAKES[mistake]
    written.change(file, old, new)
    shown = [(problem.line, problem.field) for problem in written.problems() if said in str(problem)]
    assert (line, field) in shown, "\n".join(map(str, written.problems()))


def test_all_mistakes_of_all_files_are_shown_together(written: Written) -> None:
    """One run tells everything, sorted by file and line."""
    written.change(S, "limit: CreditLimit", "limt: CreditLimit")
    written.change(E, "{by: region}", "{by: name}")
    written.change(R, "new <= old", "new <= olt")
    written.change(R, "many.kql", "none.kql")
    problems = written.problems()
    assert [(problem.file.split("/")[-2], problem.line) for problem in problems] == [
        ("entities", 17), ("rules", 7), ("rules", 14), ("sources", 12)
    ]  # fmt: skip


def test_a_secret_written_into_the_config_is_not_repeated(written: Written) -> None:
    """Where a secret's name belongs, what stands there may be the secret itself."""
    written.change(S, "odata_v2", "odata_v2\nauth: {kind: basic, username: u, password: hunter2}")
    [problem] = written.problems()
    assert "hunter2" not in str(problem)
    assert "{secret: NAME}" in str(problem)


@pytest.mark.parametrize("origin", ["https://u:hunter2@erp.example", "http://u:hunter2@erp.example"])
def test_an_address_with_credentials_is_refused_and_not_repeated(written: Written, origin: str) -> None:
    """Addresses are logged; credentials are named under auth."""
    written.change(S, "{ERP_URL}", origin)
    [problem] = written.problems()
    assert "credentials" in problem.wrong
    assert "hunter2" not in str(problem)


def test_plain_http_is_allowed_where_config_says_that_the_network_is_ours(written: Written) -> None:
    """allow_private admits it; an address made of a setting is judged when it is read."""
    written.load()
    written.change(S, '"{ERP_URL}/sap"}', '"http://erp.example/sap", allow_private: true}')
    written.load()


def test_a_list_whose_only_item_is_wrong_is_one_problem(written: Written) -> None:
    """The list is not called empty as well."""
    written.change(E, "[rank, recent]", "[newest]")
    assert [problem.field for problem in written.problems()] == ["survivorship.default.0"]


def test_a_broken_file_is_not_called_missing_by_the_others(written: Written) -> None:
    """An entity file that does not load is one problem, not one for every file that names it."""
    written.change(E, "scale: 2", "scale: two")
    assert [problem.field for problem in written.problems()] == ["fields.limit.scale"]


@pytest.mark.parametrize(("name", "copy"), [(S, "sources/b.yaml"), (E, "entities/b.yml"), (R, "rules/z.yaml")])
def test_a_name_given_twice_is_refused(written: Written, name: str, copy: str) -> None:
    """Sources, entity types and rules have names of their own across files."""
    written.write(copy, (written.folder / name).read_text("utf-8"))
    assert any("there is another" in problem.wrong for problem in written.problems())


def test_what_a_misspelt_name_explains_is_not_said_as_well(written: Written) -> None:
    """What is placed, watched or judged by that name is right as soon as the name is."""
    written.change(E, "partition_by: region", "partition_by: regin")
    assert [problem.field for problem in written.problems()] == ["partition_by"]
    written.change(E, "partition_by: regin", "partition_by: region")
    written.change(R, "change: limit\n    when: new <= old * 0.5", "drift: limit")
    written.change(R, "{name}: {old} to {new}", "{name}: {limit}")
    written.change(E, "  limit: {relative", "  limt: {relative")
    assert [problem.field for problem in written.problems()] == ["drift.limt"]
    written.change(R, "drift: limit", "drift: since")
    assert [problem.field for problem in written.problems()] == ["drift.limt", "rules.halved.drift"]


def test_every_field_whose_name_is_taken_is_shown(written: Written) -> None:
    """On its own line."""
    written.change(E, "  since: {type: date}\n", "  source: {type: string}\n  new: {type: float}\n")
    assert [(problem.line, problem.field) for problem in written.problems()] == [
        (9, "fields.source"),
        (10, "fields.new"),
    ]


def test_an_entity_type_holds_sixty_stateful_rules(written: Written) -> None:
    """Their conditions are bits of one word; the sixty-first is refused, disabled ones don't count."""
    rule = "  r{0}: {{when: limit > {0}, title: x}}\n"
    written.write("rules/more.yaml", "entity: company\nrules:\n" + "".join(map(rule.format, range(60))))
    assert len(written.load().rules_of("company")) == 61
    written.write("rules/most.yaml", "entity: company\nrules:\n  one: {drift: limit, title: x, enabled: false}\n")
    assert len(written.load().rules_of("company")) == 61
    written.write("rules/most.yaml", "entity: company\nrules:\n  one: {drift: limit, title: x}\n")
    assert "is one too many" in written.problems()[0].wrong


def test_a_folder_that_is_not_there_is_one_clear_problem(written: Written) -> None:
    """A mistyped --config does not run an app that watches nothing."""
    written.folder = written.folder / "nowhere"
    assert "is not a folder" in written.problems()[0].wrong


def test_a_file_that_is_no_mapping_is_refused(written: Written) -> None:
    """A list, a word or nothing at all is not a config file."""
    for text in ("- a\n", "word\n", ""):
        written.write("rules/other.yaml", text)
        assert written.problems()[0].file.endswith("rules/other.yaml")
