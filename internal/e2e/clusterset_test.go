package e2e

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// setZone is where the samples are found that both clusters export.
const setZone = "." + demo + ".svc.clusterset.local"

// exportedByBoth: the samples' services are exported by both clusters, and are one each.
func exportedByBoth(t *testing.T, l *lab) {
	l.exportSamples(t)
	for _, s := range []step{
		{"one address, balanced over the pods of both", balancedOverBoth},
		{"what one cluster deletes the other answers for", oneOfBothGoes},
		{"headless, by the pods' own names", headlessOfBoth},
		{"exports that differ are told so", exportsDiffer},
	} {
		if !t.Run(s.name, func(t *testing.T) { s.run(t, l) }) {
			return
		}
	}
}

// exportedIsBalanced is the part of exportedByBoth that the SDN's mode has to do with.
func exportedIsBalanced(t *testing.T, l *lab) {
	l.exportSamples(t)
	balancedOverBoth(t, l)
}

func (l *lab) exportSamples(t *testing.T) {
	t.Helper()
	for _, c := range clusters {
		l.kubectl(t, c, "apply", "-f", filepath.Join(l.root, "samples/export.yaml"))
		time.Sleep(1100 * time.Millisecond) // exports' ages are in whole seconds; east's is the oldest
	}
}

// answering are the pods that answer a number of requests to a host, by their clusters,
// as a pod of that cluster asks, and whether all were answered.
func (l *lab) answering(t *testing.T, cluster, host string) (of map[string][]string, all bool) {
	t.Helper()
	owner := map[string]string{}
	for _, c := range clusters {
		for pod := range strings.FieldsSeq(l.kubectl(t, c, "-n", demo, "get", "pods", "-o", "jsonpath={.items[*].metadata.name}")) {
			owner[pod] += c // of a StatefulSet's, every cluster has one of the name
		}
	}
	const requests = 32
	request := fmt.Sprintf(`{"services":[{"name":"x","host":%q,"port":8080,"requests":%d}]}`, host, requests)
	r := l.operator(t, 2*time.Minute, "sh", "-c", "echo '"+request+"' | kubectl --context "+cluster+" -n "+demo+" exec -i deploy/web -- /usr/bin/test-app ask")
	r.must(t)
	type tally struct {
		Answered int
		Servers  map[string]int
		Error    string
	}
	var got []struct{ TCP, UDP tally }
	if err := json.Unmarshal([]byte(r.out), &got); err != nil || len(got) != 1 {
		t.Fatalf("connections to %s: %v: %s", host, err, r.out)
	}
	of, all = map[string][]string{}, true
	for protocol, one := range map[string]tally{"TCP": got[0].TCP, "UDP": got[0].UDP} {
		if one.Answered != requests {
			all = false
			t.Logf("%s to %s from %s: %d of %d answered: %s", protocol, host, cluster, one.Answered, requests, one.Error)
		}
		for pod := range one.Servers {
			if c := owner[pod]; !slices.Contains(of[c], pod) {
				of[c] = append(of[c], pod)
			}
		}
	}
	return of, all
}

// importSays is a field of a ServiceImport of the samples.
func (l *lab) importSays(t *testing.T, cluster, name, path string) string {
	t.Helper()
	return l.kubectl(t, cluster, "-n", demo, "get", "serviceimport", name, "--ignore-not-found", "-o", "jsonpath={"+path+"}")
}

// importedFrom waits until the cluster imports a service from these clusters.
func (l *lab) importedFrom(t *testing.T, cluster, name, from string) time.Duration {
	t.Helper()
	return eventually(t, 30*time.Second, cluster+" imports "+name+" from "+from, func() bool {
		return l.importSays(t, cluster, name, ".status.clusters[*].cluster") == from
	})
}

func balancedOverBoth(t *testing.T, l *lab) {
	for _, c := range clusters {
		l.importedFrom(t, c, "web", "east west")
		address := l.importSays(t, c, "web", ".spec.ips[0]")
		want := "NOERROR A " + address
		took := eventually(t, forwarded, c+" finds web"+setZone+" at "+address, ofBoth(func() bool {
			return l.resolveIn(t, c, "", "A", "web"+setZone).String() == want
		}))
		t.Logf("found in %s after %.0f s, at %s", c, took.Seconds(), address)
		for kind, want := range map[string]string{"SRV _http._tcp.": "NOERROR SRV 0 100 8080 web" + setZone + ".", "A none-": "NXDOMAIN"} {
			kind, name, _ := strings.Cut(kind, " ")
			if got := l.resolveIn(t, c, "", kind, name+"web"+setZone); got.String() != want {
				t.Errorf("%s: %s %sweb%s: %s, want %s", c, kind, name, setZone, got, want)
			}
		}
		eventually(t, 10*time.Second, "balanced over the pods of both, as "+c+" asks", func() bool {
			of, all := l.answering(t, c, "web"+setZone)
			return all && len(of["east"]) == 2 && len(of["west"]) == 2
		})
	}
}

// oneOfBothGoes: the service of one cluster is deleted while it is asked for.
func oneOfBothGoes(t *testing.T, l *lab) {
	other := map[string]string{"east": "west", "west": "east"}
	for _, gone := range clusters {
		l.kubectl(t, gone, "-n", demo, "delete", "service", "web")
		took := l.importedFrom(t, "east", "web", other[gone])
		t.Logf("%s deleted its service: known to east after %.1f s", gone, took.Seconds())
		l.importedFrom(t, "west", "web", other[gone])
		for _, c := range clusters {
			var of map[string][]string
			eventually(t, 5*time.Second, gone+"'s pods do not answer, as "+c+" asks", func() bool { // kube-proxy gathers changes for a second
				var all bool
				of, all = l.answering(t, c, "web"+setZone)
				return all && len(of[gone]) == 0 && len(of[other[gone]]) > 0
			})
			t.Logf("%s has deleted its service; as %s asks, these pods answer: %v", gone, c, of)
		}
		if said := l.kubectl(t, gone, "-n", demo, "get", "serviceexport", "web", "-o", "jsonpath={.status.conditions}"); !strings.Contains(said, "NoService") {
			t.Errorf("the export of %s does not say that there is no such service: %s", gone, said)
		}
		l.kubectl(t, gone, "apply", "-f", filepath.Join(l.root, "samples/service.yaml"))
		for _, c := range clusters {
			l.importedFrom(t, c, "web", "east west")
		}
	}
}

func headlessOfBoth(t *testing.T, l *lab) {
	for _, c := range clusters {
		l.importedFrom(t, c, "db", "east west")
		for _, of := range clusters {
			address := l.field(t, of, "pod/db-0", ".status.podIP")
			eventually(t, 30*time.Second, c+" finds db-0 of "+of, func() bool {
				return l.resolveIn(t, c, "", "A", "db-0."+of+".db"+setZone).String() == "NOERROR A "+address
			})
		}
		if got := l.resolveIn(t, c, "", "A", "db"+setZone); len(got.Records) != 4 {
			t.Errorf("%s: all pods of both clusters: %s", c, got)
		}
		if got := l.resolveIn(t, c, "", "A", "db-7.west.db"+setZone); got.RCode != "NXDOMAIN" {
			t.Errorf("%s: a pod that there is not: %s", c, got)
		}
	}
	l.talks(t, "db-0.west.db"+setZone, "db-0")
	// The names that the pods' addresses had before they still have.
	address := l.field(t, "west", "pod/db-0", ".status.podIP")
	if got := l.resolve(t, "", "PTR", address); !slices.Contains(got.Records, "PTR db-0.db."+demo+".svc.cluster.west.") {
		t.Errorf("PTR %s: %s", address, got)
	}
}

// exportsDiffer: west's export is the younger one, and does not hold.
func exportsDiffer(t *testing.T, l *lab) {
	conflict := func(cluster string) string {
		return l.kubectl(t, cluster, "-n", demo, "get", "serviceexport", "web", "-o",
			`jsonpath={range .status.conditions[?(@.type=="Conflict")]}{.status} {.reason} {.message}{end}`)
	}
	l.kubectl(t, "west", "-n", demo, "patch", "service", "web", "--type=merge", "-p", `{"spec":{"sessionAffinity":"ClientIP"}}`)
	eventually(t, 20*time.Second, "west is told", func() bool {
		return strings.HasPrefix(conflict("west"), "True SessionAffinityConflict sessionAffinity is ClientIP, but None in cluster east")
	})
	if got := conflict("east"); !strings.HasPrefix(got, "False NoConflicts") {
		t.Errorf("east, whose export is the oldest: %s", got)
	}
	if got := l.importSays(t, "west", "web", ".spec.sessionAffinity"); got != "None" {
		t.Errorf("west imports it with affinity %s", got)
	}
	l.kubectl(t, "west", "-n", demo, "patch", "service", "web", "--type=merge", "-p", `{"spec":{"sessionAffinity":"None"}}`)
	eventually(t, 20*time.Second, "west agrees again", func() bool { return strings.HasPrefix(conflict("west"), "False NoConflicts") })
}

// keepExported exports a service in a namespace that outlasts the mesh, until the test is
// over, and waits until it is imported.
func (l *lab) keepExported(t *testing.T) {
	t.Helper()
	file := filepath.Join(l.root, "internal/e2e/testdata/kept.yaml")
	t.Cleanup(func() {
		for _, c := range clusters {
			l.kubectl(t, c, "-n", "default", "delete", "service", "kept", "--ignore-not-found")
		}
	})
	for _, c := range clusters {
		l.kubectl(t, c, "apply", "-f", file)
	}
	for _, c := range clusters {
		eventually(t, 30*time.Second, c+" has slices for what both export", func() bool {
			return strings.Count(l.derivedSlices(t, c), "default/import-") == 2
		})
	}
}

// derivedSlices are all slices of a cluster that stand for imported services.
func (l *lab) derivedSlices(t *testing.T, cluster string) string {
	t.Helper()
	return l.kubectl(t, cluster, "get", "endpointslices", "-A", "-l", "app.kubernetes.io/managed-by=sdn-tunnel-imports",
		"-o", `jsonpath={range .items[*]}{.metadata.namespace}/{.metadata.name}{"\n"}{end}`)
}
