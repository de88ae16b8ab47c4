"""``mssctl plan PRESET --explain traffic``: what a training step moves, computes and launches."""

from dataclasses import fields

from mssctl.hardware.machine import MIB
from mssctl.planning.predict.traffic import Traffic
from mssctl.planning.predictions import training_traffic
from mssctl.planning.request import Request
from mssctl.results.plan import PartTraffic, TrafficResult


def traffic_of(preset: str, asked: Request) -> TrafficResult:
    """Count one micro-batch of a preset, on tensors without data.

    Raises:
        MssctlError: an unknown preset or key; a dtype that the card lacks.
    """
    config, _ = asked.load(preset)
    asked.check(config)
    training = config.training
    counted = training_traffic(config, asked.where.capability, asked.attention)
    parts = [_part(name, traffic, training.batch_size) for name, traffic in counted.items()]
    total = Traffic(
        **{
            field.name: sum(getattr(traffic, field.name) for traffic in counted.values())
            for field in fields(Traffic)
        }
    )
    return TrafficResult(
        preset=preset,
        batch_size=training.batch_size,
        segment_seconds=training.segment_length / config.audio.sample_rate,
        dtype=training.amp_dtype,
        checkpointing=training.gradient_checkpointing,
        parts=sorted(parts, key=lambda part: -part.gigabytes),
        total=_part("total", total, training.batch_size),
    )


def _part(name: str, traffic: Traffic, batch: int) -> PartTraffic:
    return PartTraffic(
        name,
        traffic.moved / 1e9,
        traffic.flops / 1e12,
        traffic.kernels,
        traffic.operations,
        traffic.kept / MIB / batch,
    )
