package verify

import (
	"bytes"
	"io"
	"testing"
	"time"

	"github.com/sdn-tunnel/sdn-tunnel/internal/golden"
	"github.com/sdn-tunnel/sdn-tunnel/samples/test-app/probe"
)

func passed(names ...string) []Check {
	var checks []Check
	for _, name := range names {
		checks = append(checks, Check{Name: name, Check: probe.Check{OK: true}})
	}
	return checks
}

func exampleReport() Report {
	all := passed(probe.Checks...)
	all[3].Detail = "412 Mbit/s"
	failed := passed(probe.ICMP, probe.TCP, probe.UDP)
	failed = append(failed, Check{Name: probe.DF, Check: probe.Check{Detail: "no packet over 1200 bytes passed <DF>"}})
	return Report{
		Started: time.Date(2025, 3, 1, 12, 0, 0, 0, time.UTC), DurationSeconds: 12.3, Clusters: []string{"east", "west"},
		Pairs: []Pair{
			{Kind: PodToPod, From: "east.east-1", To: "west.west-1", FromAddress: "10.128.0.5", ToAddress: "10.132.0.5", Seen: "10.128.0.5", Checks: all, RTTMicros: 1234, DFBytes: 1370, LinkMTU: 1450, Attempts: 1},
			{Kind: PodToPod, From: "west.west-1", To: "east.east-1", ToAddress: "10.128.0.5", Checks: failed, Attempts: 3, FailingHop: "the path between west.west-1 and east.east-1"},
			{Kind: NodeToPod, From: "west.west-1", To: "east.east-1", ToAddress: "10.128.0.5", Attempts: 3, Error: "probe could not run in pod a/b: gone"},
		},
		Services: exampleServices(),
	}
}

func exampleServices() []ServicePair {
	tally := probe.Tally{Answered: 16, Servers: map[string]int{"test-app-a": 7, "test-app-b": 9}, Source: "10.128.0.5", Seen: "10.128.0.5"}
	return []ServicePair{
		{From: "east.east-1", FromAddress: "10.128.0.5", To: "west", Way: ByAddress, Host: "172.31.0.9", Address: "172.31.0.9", Requests: 16, TCP: tally, UDP: tally, Backends: 2, Attempts: 1},
		{From: "east.east-1", FromAddress: "10.128.0.5", To: "west", Way: ByName, Host: "test-app.sdn-tunnel-test.svc.cluster.west", Requests: 16,
			TCP: probe.Tally{Error: "lookup: no such host"}, UDP: tally, Backends: 2, Attempts: 12},
		{From: "east.east-1", FromAddress: "10.128.0.5", To: "clusterset", Way: ByClusterSet, Host: "test-app.sdn-tunnel-test.svc.clusterset.local", Address: "172.30.0.9",
			Requests: 16, TCP: tally, UDP: tally, Backends: 4, Clusters: []string{"east", "west"}, Attempts: 1},
	}
}

func TestRendering(t *testing.T) {
	r := exampleReport()
	good := r
	good.Pairs, good.Services = r.Pairs[:1], r.Services[:1]
	for name, write := range map[string]func(io.Writer) error{
		"table.txt":        func(w io.Writer) error { return r.WriteTable(w, false) },
		"table-colour.txt": func(w io.Writer) error { return r.WriteTable(w, true) },
		"table-ok.txt":     func(w io.Writer) error { return good.WriteTable(w, false) },
		"report.json":      r.WriteJSON,
		"junit.xml":        r.WriteJUnit,
	} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			if err := write(&b); err != nil {
				t.Fatal(err)
			}
			golden.Check(t, name, b.String())
		})
	}
}

func TestNoPairsIsNoSuccess(t *testing.T) {
	if (Report{}).OK() || (Report{}).Summary() != "no pairs were probed" {
		t.Error("an empty report counts as a success")
	}
}
