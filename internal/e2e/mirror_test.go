package e2e

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// servicesAreMirrored: what west shares is known in east, follows each change, and the
// export policy is followed live.
func servicesAreMirrored(t *testing.T, l *lab) {
	file, err := filepath.Abs("testdata/shop.yaml")
	if err != nil {
		t.Fatal(err)
	}
	l.kubectl(t, "west", "apply", "-f", file)
	t.Cleanup(func() {
		l.kubectl(t, "west", "patch", "linkedcluster", "west", "--type=merge", "-p", `{"spec":{"exportPolicy":"All"}}`)
		l.kubectl(t, "west", "delete", "--wait=false", "-f", file)
	})
	// mirrors are the services' names, each with its pods' addresses.
	mirrors := func() string {
		out := strings.Fields(l.kubectl(t, "east", "-n", "sdn-tunnel", "get", "endpointslices", "-l", "sdntunnel.io/cluster=west,sdntunnel.io/service-namespace=shop",
			"-o", `jsonpath={range .items[*]}{.metadata.labels.sdntunnel\.io/service-name}={.endpoints[*].addresses[0]}{"\n"}{end}`))
		slices.Sort(out)
		return strings.Join(out, " ")
	}
	pods := func(n int) func() bool {
		return func() bool {
			web := 0
			for _, word := range strings.Fields(mirrors()) {
				if strings.HasPrefix(word, "web=10.") || strings.HasPrefix(word, "10.") {
					web++
				}
			}
			return web == n
		}
	}
	took := eventually(t, 2*time.Minute, "two pods of west in east", pods(2))
	if got := mirrors(); !strings.Contains(got, "hidden=") {
		t.Errorf("a service without endpoints has no mirror: %s", got)
	}
	l.kubectl(t, "west", "-n", "shop", "scale", "deployment/web", "--replicas=3")
	up := eventually(t, time.Minute, "three pods", pods(3))
	l.kubectl(t, "west", "-n", "shop", "scale", "deployment/web", "--replicas=0")
	down := eventually(t, time.Minute, "none", pods(0))
	t.Logf("two pods %s after the service was made, a third %s after scaling, none %s after it",
		took.Round(time.Millisecond), up.Round(time.Millisecond), down.Round(time.Millisecond))

	l.kubectl(t, "west", "patch", "linkedcluster", "west", "--type=merge", "-p", `{"spec":{"exportPolicy":"Exported"}}`)
	eventually(t, 10*time.Second, "only what is exported", func() bool { return mirrors() == "web=" })
	l.kubectl(t, "west", "-n", "shop", "delete", "serviceexport", "web")
	eventually(t, 10*time.Second, "nothing", func() bool { return mirrors() == "" })
	l.kubectl(t, "west", "apply", "-f", file)
	eventually(t, 10*time.Second, "the export is valid", func() bool {
		return strings.Contains(l.kubectl(t, "west", "-n", "shop", "get", "serviceexport", "web", "-o", "jsonpath={.status.conditions}"), `"reason":"Valid"`)
	})
}
