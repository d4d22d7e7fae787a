package underlay

import (
	"bytes"
	_ "embed"
	"fmt"
	"os/exec"
	"strings"
	"text/template"

	"github.com/sdn-tunnel/sdn-tunnel/internal/lab/layout"
)

//go:embed router.nft
var routerRules string

var routerTemplate = template.Must(template.New("router.nft").Parse(routerRules))

// Rules is the router's nftables ruleset for the lab.
func Rules(l *layout.Lab) string {
	type data struct {
		Operator, ControlPlanes, Nodes, VIPs, Inner string
		APIPort, OAuthPort                          int
	}
	var cps, nodes, vips, inner []string
	for _, c := range l.Clusters {
		cps = append(cps, c.ControlPlane.String())
		vips = append(vips, c.VIPFirst.String()+"-"+c.VIPLast.String())
		inner = append(inner, c.Pods.String(), c.Services.String())
		for _, n := range c.Nodes {
			nodes = append(nodes, n.Address.String())
		}
	}
	set := func(s []string) string { return strings.Join(s, ", ") }
	var b bytes.Buffer
	err := routerTemplate.Execute(&b, data{
		Operator: l.Operator.Addr().String(), ControlPlanes: set(cps), Nodes: set(nodes),
		VIPs: set(vips), Inner: set(inner), APIPort: layout.APIPort, OAuthPort: layout.OAuthPort,
	})
	if err != nil {
		panic(err) // the template and its data are both constant in shape
	}
	return b.String()
}

// loadRules runs nft in the calling thread's network namespace.
func loadRules(rules string) error {
	cmd := exec.Command("nft", "-f", "-")
	cmd.Stdin = strings.NewReader(rules)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("nft -f: %w: %s", err, bytes.TrimSpace(out))
	}
	return nil
}
