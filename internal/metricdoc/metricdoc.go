// Package metricdoc writes docs/metrics.md out of the metrics that the programs have.
package metricdoc

import (
	"fmt"
	"io"
	"strings"

	"github.com/sdn-tunnel/sdn-tunnel/internal/agent"
	"github.com/sdn-tunnel/sdn-tunnel/internal/controller"
	"github.com/sdn-tunnel/sdn-tunnel/internal/metricset"
)

// Programs are the programs that have metrics, and which.
func Programs() map[string][]metricset.Metric {
	return map[string][]metricset.Metric{"agent": agent.Metrics(), "controller": controller.Metrics()}
}

const head = `<!-- Written by make generate out of the code. -->
# Metrics

Agents serve them on port 9655 of their node, by default on its loopback address
(` + "`agent_metrics_address`" + `), the controller on 9656 of its pod, at ` + "`/metrics`" + `. Both have the
usual ones of a Go process, too, the controller those of controller-runtime, and the name
servers CoreDNS's own on port 9153.

The label ` + "`peer`" + ` is a node of another cluster, ` + "`<cluster>.<node>`" + `: of such a metric an agent has
one series for each of its peers, if there are not more than 200 of them (the agent's
` + "`--peer-metrics`" + `, variable ` + "`agent_peer_metrics`" + `); with more no peer has one. What has a label
` + "`cluster`" + ` is always there, and its number does not grow with the nodes: it is another member,
and for ` + "`sdntunnel_member_nodes`" + ` the own one, too.
`

// Write writes the document.
func Write(w io.Writer) error {
	var b strings.Builder
	b.WriteString(head)
	programs := Programs()
	for _, program := range []string{"agent", "controller"} {
		fmt.Fprintf(&b, "\n## Of the %s\n\n| metric | type | labels | |\n|---|---|---|---|\n", program)
		for _, m := range programs[program] {
			labels := ""
			if len(m.Labels) > 0 {
				labels = "`" + strings.Join(m.Labels, "`, `") + "`"
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", m.Name, m.Type, labels, strings.ReplaceAll(m.Help, "|", `\|`))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}
