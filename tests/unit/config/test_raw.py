from trivium.config.raw import schema


def test_the_schema_knows_tables_words_and_forbids_the_rest():
    made = schema()
    definitions = made["$defs"]
    assert set(definitions["File"]["properties"]) >= {"server", "providers", "routes", "keys", "policy", "aliases"}
    assert definitions["Route"]["additionalProperties"] is False
    assert definitions["Route"]["required"] == ["name", "targets"]
    assert "order" in definitions["Route"]["properties"]["strategy"]["enum"]
    assert "base_url" in definitions["Provider"]["properties"]
