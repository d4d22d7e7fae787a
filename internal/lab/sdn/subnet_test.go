package sdn

import (
	"strings"
	"testing"

	"github.com/sdn-tunnel/sdn-tunnel/internal/lab/sdn/tables"
)

// TestSubnet: one flat network. Every pod reaches every other, whatever its namespace's
// network id, on the node and across nodes.
func TestSubnet(t *testing.T) {
	c := newCluster(t, tables.Subnet)
	a, b := c.nodes[0], c.nodes[1]
	red, blue := a.addPod(sandbox("sred"), "red"), a.addPod(sandbox("sblue"), "blue")
	blueB, global := b.addPod(sandbox("sblueb"), "blue"), b.addPod(sandbox("sdef"), "default")

	for _, to := range []testPod{blue, blueB, global} {
		reaches(t, red.sandbox, to.ip)
		reaches(t, to.sandbox, red.ip)
	}
	reaches(t, a.ns, blueB.ip)
	reaches(t, b.ns, red.ip)
	for line := range strings.Lines(a.ofctl("dump-flows", bridge)) {
		if strings.Contains(line, "reg0=") {
			t.Errorf("a flow looks at the network id: %s", strings.TrimSpace(line))
		}
	}
	stop(a.daemon)
	a.startDaemon(tables.Subnet, c.file)
	later := a.addPod(sandbox("slate"), "red")
	reaches(t, blueB.sandbox, later.ip)
}
