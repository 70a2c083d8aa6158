"""Shards: run apart, merged to what one run would have had; refused where they are not."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import covsde
from covsde import ShapedMLP, ShapedReLU
from covsde.observables import Correlation, LogNorm
from covsde.statistics import Covariance, Extremes, Histogram, Moments, Quantiles

RELU = ShapedMLP(ShapedReLU(0.0, -1.0))
V0 = jnp.array([[1.0, 0.3], [0.3, 1.0]])
PATHS = 6001
STATISTICS = (
    Moments(),
    Covariance(),
    Extremes(),
    Quantiles((0.1, 0.5, 0.9)),
    Histogram([-1.0, 0.0, 1.0]),
)


def run(**change):
    arguments = dict(
        key=jax.random.key(3),
        num_paths=PATHS,
        observables={"log V": LogNorm(0), "rho": Correlation(0, 1)},
        statistics=STATISTICS,
        dt0=0.25,
        samples=2000,
        devices=1,
    )
    return covsde.ensemble(RELU, V0, 0.5, **(arguments | change))


@pytest.fixture(scope="module")
def whole():
    return run()


@pytest.fixture(scope="module")
def shards():
    return [run(shard=(i, 3)) for i in range(3)]


def assert_same(one, other):
    assert one.paths == other.paths and one.names == other.names
    for name, part in one.parts.items():
        if name in ("mean", "variance", "standard_error", "skewness", "kurtosis"):
            np.testing.assert_allclose(other.parts[name].values, part.values, rtol=1e-9)
        elif name == "covariance":
            np.testing.assert_allclose(other.parts[name].values, part.values, rtol=1e-10)
        else:
            np.testing.assert_array_equal(other.parts[name].values, part.values, name)
    np.testing.assert_allclose(other.samples.vs, one.samples.vs, rtol=1e-12)


def test_shards_are_shares_of_the_paths(shards):
    assert [shard.paths for shard in shards] == [(0, 2000), (2000, 4000), (4000, 6001)]
    assert not any(shard.is_whole for shard in shards)
    assert "2,000 paths (2,000 to 3,999 of 6,001)" in str(shards[1])
    assert shards[0].samples.vs.shape == (2000, 1, 2, 2)
    assert shards[1].samples is None


def test_merged_shards_are_one_run(whole, shards):
    merged = covsde.merge(shards)
    assert merged.is_whole
    assert_same(whole, merged)
    assert_same(whole, covsde.merge(shards[::-1]))


def test_files_of_shards_are_merged(whole, shards, tmp_path):
    pytest.importorskip("h5netcdf")
    files = [shard.save(tmp_path / f"sub/{i}.nc") for i, shard in enumerate(shards)]
    merged = covsde.merge([files[0], str(files[1]), shards[2]])
    assert_same(whole, merged)
    again = covsde.Ensemble.load(merged.save(tmp_path / "merged.nc"))
    assert_same(whole, again)
    assert again.recipe == merged.recipe
    assert str(again) == str(merged)
    np.testing.assert_array_equal(again.quantile("rho", 0.3), merged.quantile("rho", 0.3))


def test_other_chunks_make_the_same_shard(shards):
    again = run(shard=(1, 3), chunk_size=5461)
    assert_same(covsde.merge([shards[0], again, shards[2]]), covsde.merge(shards))


def test_shards_that_make_no_whole_are_refused(shards):
    def other(**change):
        return dataclasses.replace(shards[1], **change)

    stopped = shards[1].recipe | {"stop_above": "50"}
    for some, words in (
        (shards[:2], ["must have all paths", "none of 4000 to 6000"]),
        (shards[1:], ["must have all paths", "none of 0 to 1999"]),
        ([shards[0], shards[2]], ["must have all paths", "none of 2000 to 3999"]),
        ([*shards, shards[1]], ["must not overlap", "2000 to 3999"]),
        ([shards[0], other(paths=(1500, 4000)), shards[2]], ["overlap", "1500 to 1999"]),
        (
            [shards[0], run(shard=(1, 3), key=jax.random.key(4)), shards[2]],
            ["must be of one ensemble", "`key` is [0, 3] here and [0, 4] there"],
        ),
        (
            [shards[0], other(recipe=stopped), shards[2]],
            ["must be of one ensemble", "`stop_above` is None here and 50 there"],
        ),
        ([], ["none", "['a.nc', 'b.nc']"]),
        (["nowhere.nc"], ["must be a file of `Ensemble.save`", "nowhere.nc"]),
    ):
        with pytest.raises(ValueError, match="must") as caught:
            covsde.merge(some)
        assert all(word in str(caught.value) for word in words), caught.value
    for wrong in ("a.nc", shards[0], None, [3]):
        with pytest.raises(TypeError, match="`shards` must be a sequence of ensembles"):
            covsde.merge(wrong)


def test_another_file_is_refused(tmp_path):
    pytest.importorskip("h5netcdf")
    solution = covsde.solve(RELU, V0, 0.5, key=jax.random.key(0), num_paths=2, dt0=0.5)
    file = solution.save(tmp_path / "solution.nc")
    with pytest.raises(ValueError, match="of another kind"):
        covsde.Ensemble.load(file)


class Count(Moments):
    """A statistic of a user's own."""


def test_a_statistic_of_ones_own_is_not_saved(tmp_path, whole):
    own = dataclasses.replace(whole, statistics=(Count(), *whole.statistics[1:]))
    with pytest.raises(ValueError, match=r"must be of `covsde.statistics`.*got Count"):
        own.save(tmp_path / "own.nc")


# on the command line


def test_shards_on_the_command_line(tmp_path):
    pytest.importorskip("typer")
    pytest.importorskip("h5netcdf")
    from typer.testing import CliRunner

    from covsde.cli import app

    np.save(tmp_path / "x.npy", np.array([[1.0, 0.2], [0.3, 1.0]]))
    small = ["--inputs", tmp_path / "x.npy", "--paths", 500, "--t1", 0.5, "--dt0", 0.25]

    def command(*arguments):
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    files = [tmp_path / f"{i}.nc" for i in range(2)]
    for i, file in enumerate(files):
        state = ["--checkpoint", tmp_path / "state", "--chunk-size", 250]
        shard = ["--shard", f"{i}/2", "--out", file]
        result = command("ensemble", *small, *state, *shard)
        assert result.exit_code == 0, result.output
    assert f"{250 * 1:,} paths (250 to 499 of 500)" in result.output
    merged = command("merge", *files, "--out", tmp_path / "whole.nc")
    assert merged.exit_code == 0, merged.output
    assert "ρ[0,1]" in merged.output and "log V[1,1]" in merged.output
    loaded = covsde.Ensemble.load(tmp_path / "whole.nc")
    assert loaded.is_whole and loaded["ρ[0,1]"]["count"] == 500

    for arguments, words in (
        (["merge", files[0]], "must have all paths"),
        (["merge", files[0], "--out", "a.txt"], "ends in .nc"),
        (["ensemble", *small, "--shard", "2/2"], "must be i/N"),
        (["ensemble", *small, "--shard", "one"], "must be i/N"),
        (["ensemble", *small, "--chunk-size", 0], "at least 1"),
        (["ensemble", *small, "--shard", "0/600"], "num_paths"),
        (["ensemble", *small, "--checkpoint", files[0]], "the name of a folder"),
    ):
        result = command(*arguments)
        assert result.exit_code == 2, result.output
        text = " ".join(result.output.translate(str.maketrans("│╭╮╰╯─", "      ")).split())
        assert words in text or words.replace("num_paths", "--paths") in text, text


@pytest.mark.parametrize("name", ["missing.nc", f"{'n' * 300}.nc"], ids=["missing", "long"])
def test_what_is_no_file_is_no_shard(name, tmp_path):
    with pytest.raises(ValueError, match=r"`path` must be a file .* which is no file"):
        covsde.merge([tmp_path / name])
