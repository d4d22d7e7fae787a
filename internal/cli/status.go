package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"text/tabwriter"

	ucli "github.com/urfave/cli/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/dynamic"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
)

func statusCommand(files fs.FS) *ucli.Command {
	return &ucli.Command{
		Name: "status", Usage: "show the members and nodes of a mesh as each cluster sees them",
		Description: "   sdn-tunnel status -i inventory\n   sdn-tunnel status -i inventory -o json\n\nExit code 1 if something is down.",
		Flags:       append(inventoryFlags(), outputFlag("table or json")),
		Action:      func(c *ucli.Context) error { return runStatus(c, files) },
	}
}

// clusterStatus is what one cluster's API says of the mesh.
type clusterStatus struct {
	Cluster string                   `json:"cluster"`
	Links   []v1alpha1.LinkedCluster `json:"linkedClusters"`
	Nodes   []v1alpha1.TunnelNode    `json:"tunnelNodes"`
	Down    []string                 `json:"down"`
}

func runStatus(c *ucli.Context, files fs.FS) error {
	if err := wantOutput(c); err != nil {
		return err
	}
	_, members, done, err := open(c, files)
	if err != nil {
		return err
	}
	defer done()
	all := make([]clusterStatus, len(members))
	if err := parallel(len(members), func(i int) (err error) {
		all[i], err = readStatus(c, members[i])
		return err
	}); err != nil {
		return err
	}
	down := 0
	for i := range all {
		all[i].Down = findDown(all[i])
		down += len(all[i].Down)
	}
	if c.String("output") == "json" {
		enc := json.NewEncoder(c.App.Writer)
		enc.SetIndent("", "  ")
		err = enc.Encode(map[string]any{"ok": down == 0, "clusters": all})
	} else {
		err = writeStatus(c.App.Writer, all)
	}
	if err == nil && down > 0 {
		err = codeError{fmt.Errorf("%d things are down", down), ExitFailed}
	}
	return err
}

func readStatus(c *ucli.Context, m member) (clusterStatus, error) {
	s := clusterStatus{Cluster: m.name}
	client, err := dynamic.NewForConfig(m.access.Config)
	if err != nil {
		return s, fmt.Errorf("cluster %s: %w", m.name, err)
	}
	read := func(resource string, into any) error {
		list, err := client.Resource(v1alpha1.GroupVersion.WithResource(resource)).List(c.Context, metav1.ListOptions{})
		if err != nil {
			return fmt.Errorf("cluster %s: list %s: %w (was it deployed?)", m.name, resource, err)
		}
		return runtime.DefaultUnstructuredConverter.FromUnstructured(list.UnstructuredContent(), into)
	}
	var links v1alpha1.LinkedClusterList
	var nodes v1alpha1.TunnelNodeList
	if err := errors.Join(read("linkedclusters", &links), read("tunnelnodes", &nodes)); err != nil {
		return s, err
	}
	s.Links, s.Nodes = links.Items, nodes.Items
	return s, nil
}

// findDown names what is not as it should be in one cluster.
func findDown(s clusterStatus) []string {
	down := []string{}
	note := func(what string, conditions []metav1.Condition) {
		for _, c := range conditions {
			if c.Status != metav1.ConditionTrue {
				down = append(down, fmt.Sprintf("%s: %s is %s: %s: %s", what, c.Type, c.Status, c.Reason, c.Message))
			}
		}
	}
	if len(s.Links) == 0 {
		down = append(down, "no LinkedCluster: deploy has not run")
	}
	for _, l := range s.Links {
		note("LinkedCluster "+l.Name, l.Status.Conditions)
	}
	local := 0
	for _, n := range s.Nodes {
		note("TunnelNode "+n.Name, n.Status.Conditions)
		if n.Spec.Cluster != s.Cluster {
			continue
		}
		local++
		switch p := n.Status.Peers; {
		case p == nil:
			down = append(down, "TunnelNode "+n.Name+": its agent has said nothing yet")
		case p.Stale+p.Never > 0:
			down = append(down, fmt.Sprintf("TunnelNode %s: of %d peers, %d stale, %d never", n.Name, p.Configured, p.Stale, p.Never))
		}
	}
	if local == 0 {
		down = append(down, "no TunnelNode of its own: no agent runs")
	}
	return down
}

func writeStatus(w io.Writer, all []clusterStatus) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "IN\tNODE\tENDPOINT\tCABLE\tMTU\tPEERS UP\tSTALE\tNEVER\tSINCE")
	for _, s := range all {
		for _, n := range s.Nodes {
			if n.Spec.Cluster != s.Cluster {
				continue
			}
			endpoint, peers := "-", v1alpha1.PeerCounts{}
			if e := n.Spec.Endpoint; e != nil {
				endpoint = fmt.Sprintf("%s:%d", e.Host, e.Port)
			}
			if n.Status.Peers != nil {
				peers = *n.Status.Peers
			}
			fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%d\t%d of %d\t%d\t%d\t%s\n", s.Cluster, n.Spec.Node, endpoint, n.Status.Cable,
				n.Status.MTU, peers.Up, peers.Configured, peers.Stale, peers.Never, n.CreationTimestamp.UTC().Format("2006-01-02 15:04"))
		}
	}
	fmt.Fprintln(tw, "\nIN\tMEMBER\tPODS\tSERVICES\tNODES\tREFUSED")
	for _, s := range all {
		for _, l := range s.Links {
			fmt.Fprintf(tw, "%s\t%s\t%v\t%v\t%d\t%d\n", s.Cluster, l.Name, l.Spec.PodCIDRs, l.Spec.ServiceCIDRs, l.Status.Nodes, l.Status.Refused)
		}
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	for _, s := range all {
		for _, d := range s.Down {
			fmt.Fprintf(w, "down: %s: %s\n", s.Cluster, d)
		}
	}
	return nil
}
