import pytest

from serve_app.core import ConfigError
from serve_app.engine.options import EngineOptions


@pytest.mark.parametrize(
    ("field", "value"),
    [("max_rows", 0), ("max_waiting", -1), ("threads", 0), ("dtype", "int4"), ("top_p", 0.0), ("gate_cores", 0)],
)
def test_option_out_of_range_names_the_field(field, value):
    with pytest.raises(ConfigError, match=field):
        EngineOptions(**{field: value})
