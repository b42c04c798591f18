"""Two memorias side by side: one that was late, or away, has in the end what the other one has."""

from __future__ import annotations

from itertools import pairwise

from hpczmq import asking, history
from hpczmq.alerts import merged
from hpczmq.messages import Acknowledge, AlertsAnswer, Ask, AskHistory, HistoryAnswer
from hpczmq.model import About
from hpczmq.scheduler import answers
from hpczmq.simulation.memoria import MemoriaNode
from hpczmq.simulation.network import Weather
from tests.sim.test_scenarios import world


def heard(memoria: MemoriaNode) -> dict[str, list[float]]:
    """When it heard of each node, in whole tenths of a second."""

    def page(of: object, ask: AskHistory) -> tuple[HistoryAnswer, str]:
        answer = memoria.ask(ask)
        assert isinstance(answer, HistoryAnswer)
        return answer, ""

    told = asking.history(AskHistory(1, 0.0, 1e12), page)
    return {node: [round(row["at_s"], 1) for row in rows] for node, rows in told.items()}


def gaps(memoria: MemoriaNode) -> float:
    """The longest time in which it did not hear of some node."""
    times = [rows for node, rows in heard(memoria).items() if node != "memoria2"]
    return max(b - a for rows in times for a, b in pairwise(rows))


def test_a_memoria_that_is_started_late_gets_the_past_from_the_other_one() -> None:
    with world(memorias=2, history_page_bytes_max=10 * history.ROW.size) as it:
        early, late = it.memorias
        late.crash()
        it.run_for(30.0)
        began_s = late.wall_s
        late.start()
        it.run_for(30.0)
        assert heard(late)["slave1"][0] < began_s - 25.0
        assert gaps(late) < 2.5
        assert set(heard(late)) == set(heard(early))
        it.finish()


def test_one_that_was_cut_off_gets_what_it_missed_over_a_network_that_loses() -> None:
    with world(memorias=2) as it:
        it.setting.network.weather = Weather(loss=0.2)
        other, away = it.memorias
        it.run_for(5.0)
        connection = away.dealer.connection
        assert connection is not None
        connection.up_parted_s = connection.down_parted_s = it.timeline.now + 20.0
        it.run_for(15.0)
        assert gaps(away) == 0 or heard(away)["slave1"][-1] < away.wall_s - 10.0
        it.run_for(90.0)
        # Of the 20 s that it was away for nothing is missing that the other one has heard.
        assert gaps(other) < 10.0
        assert gaps(away) <= gaps(other) + 2.5
        it.finish()


def test_two_memorias_give_one_alert_which_the_master_knows_and_one_command_is_told() -> None:
    with world(memorias=2, cpu_saturated_s=1.0) as it:
        slave = it.slaves[0]
        it.run_for(12.0)  # they know of each other
        slave.cpu_percent = 100.0
        it.until(lambda: all(m.core.alerts(m.now) for m in it.memorias), 5.0)
        it.run_for(2.0)
        told = [memoria.ask(Ask(1, About.ALERTS)) for memoria in it.memorias]
        lists = [answer.alerts for answer in told if isinstance(answer, AlertsAnswer)]
        assert [[alert.id for alert in alerts] for alerts in lists] == [
            ["cpu-saturated/slave1"]
        ] * 2
        assert len(merged(lists)) == 1
        state = it.master.core.state
        answer = answers.answer(state, Ask(2, About.ALERTS), state.jobs, it.master.now)
        assert isinstance(answer, AlertsAnswer)
        assert [alert.id for alert in answer.alerts] == ["cpu-saturated/slave1"]
        for memoria in it.memorias:
            assert isinstance(memoria.ask(Acknowledge(3, ("cpu-saturated/slave1",))), AlertsAnswer)
        slave.cpu_percent = 0.0
        it.until(lambda: not any(m.core.alerts(m.now) for m in it.memorias), 5.0)
        it.run_for(1.0)
        states = sorted([alarm.state.name for alarm in m.alarms] for m in it.memorias)
        assert states == [[], ["ACTIVE", "ACKNOWLEDGED", "CLEARED"]]
        it.finish()
