package sdn

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/containernetworking/cni/pkg/invoke"
	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/version"
	"github.com/containernetworking/plugins/pkg/ns"
)

// CNIType is the plugin's name, the file in the folder of CNI plugins; OpenShift's own.
const CNIType = "openshift-sdn"

// netConf is the plugin's configuration.
type netConf struct {
	types.NetConf
	// StateDir is the daemon's.
	StateDir string `json:"stateDir"`
}

// podArgs are the arguments that the container runtime gives, by the protocol's names.
type podArgs struct {
	types.CommonArgs
	K8S_POD_NAME      types.UnmarshallableString
	K8S_POD_NAMESPACE types.UnmarshallableString
}

// RunCNI is the plugin: it does what CNI's environment and standard input ask for, and
// does not return before it has answered.
func RunCNI() {
	skel.PluginMainFuncs(skel.CNIFuncs{Add: cniAdd, Del: cniDel, Check: cniCheck, Status: cniStatus},
		version.All, "sdn-tunnel's lab: a look-alike of OpenShift SDN")
}

func parseConf(data []byte) (netConf, error) {
	conf := netConf{StateDir: DefaultStateDir}
	if err := json.Unmarshal(data, &conf); err != nil {
		return conf, fmt.Errorf("CNI configuration: %w", err)
	}
	return conf, nil
}

func cniAdd(args *skel.CmdArgs) error {
	conf, err := parseConf(args.StdinData)
	if err != nil {
		return err
	}
	var pod podArgs
	if err := types.LoadArgs(args.Args, &pod); err != nil {
		return fmt.Errorf("CNI arguments: %w", err)
	}
	client := daemon{socket: SocketPath(conf.StateDir)}
	facts, err := client.waitFacts()
	if err != nil {
		return err
	}
	ip, err := allocateIP(conf, facts)
	if err != nil {
		return err
	}
	undo := func() { _ = releaseIP(conf, facts) } // the runtime calls DEL as well
	netns, err := ns.GetNS(args.Netns)
	if err != nil {
		undo()
		return fmt.Errorf("network namespace of the pod: %w", err)
	}
	defer netns.Close()
	veth := hostVeth(args.ContainerID)
	iface := podInterface{name: args.IfName, veth: veth, ip: netip.PrefixFrom(ip, facts.Subnet.Bits()), facts: facts}
	if err := iface.create(netns); err != nil {
		undo()
		return err
	}
	record := podRecord{Namespace: string(pod.K8S_POD_NAMESPACE), Name: string(pod.K8S_POD_NAME), IP: ip, Veth: veth}
	if err := client.do(http.MethodPut, "/pods/"+args.ContainerID, record, nil); err != nil {
		deleteLink(veth)
		undo()
		return fmt.Errorf("put pod %s/%s on the bridge: %w", record.Namespace, record.Name, err)
	}
	return types.PrintResult(result(args, veth, ip, facts), conf.CNIVersion)
}

func result(args *skel.CmdArgs, veth string, ip netip.Addr, facts nodeFacts) *current.Result {
	pod := 1
	return &current.Result{
		CNIVersion: current.ImplementedSpecVersion,
		Interfaces: []*current.Interface{{Name: veth}, {Name: args.IfName, Mac: podMAC(ip).String(), Sandbox: args.Netns}},
		IPs: []*current.IPConfig{{
			Interface: &pod, Address: *ipNet(netip.PrefixFrom(ip, facts.Subnet.Bits())), Gateway: facts.Gateway.AsSlice(),
		}},
		Routes: []*types.Route{{Dst: net.IPNet{IP: net.IPv4zero, Mask: net.CIDRMask(0, 32)}, GW: facts.Gateway.AsSlice()}},
	}
}

// cniDel removes all of a pod; what is not there any more is no error.
func cniDel(args *skel.CmdArgs) error {
	conf, err := parseConf(args.StdinData)
	if err != nil {
		return err
	}
	client := daemon{socket: SocketPath(conf.StateDir)}
	facts, err := client.waitFacts()
	if err != nil {
		return err
	}
	if err := client.do(http.MethodDelete, "/pods/"+args.ContainerID, nil, nil); err != nil {
		return fmt.Errorf("take the pod off the bridge: %w", err)
	}
	deleteLink(hostVeth(args.ContainerID))
	return releaseIP(conf, facts)
}

func cniCheck(args *skel.CmdArgs) error {
	conf, err := parseConf(args.StdinData)
	if err != nil {
		return err
	}
	var p podRecord
	if err := (daemon{socket: SocketPath(conf.StateDir)}).do(http.MethodGet, "/pods/"+args.ContainerID, nil, &p); err != nil {
		return fmt.Errorf("sandbox %s: %w", args.ContainerID, err)
	}
	return ns.WithNetNSPath(args.Netns, func(ns.NetNS) error { return checkInterface(args.IfName, p.IP) })
}

func cniStatus(args *skel.CmdArgs) error {
	conf, err := parseConf(args.StdinData)
	if err != nil {
		return err
	}
	return daemon{socket: SocketPath(conf.StateDir)}.do(http.MethodGet, "/node", nil, &nodeFacts{})
}

// allocateIP takes an address from the host subnet by the host-local plugin.
func allocateIP(conf netConf, facts nodeFacts) (netip.Addr, error) {
	data, err := ipamConf(conf, facts)
	if err != nil {
		return netip.Addr{}, err
	}
	r, err := invoke.DelegateAdd(context.Background(), "host-local", data, nil)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("address from %s by host-local: %w", facts.Subnet, err)
	}
	got, err := current.NewResultFromResult(r)
	if err != nil || len(got.IPs) != 1 {
		return netip.Addr{}, fmt.Errorf("host-local gave %v: want one address: %w", r, err)
	}
	ip, _ := netip.AddrFromSlice(got.IPs[0].Address.IP)
	return ip.Unmap(), nil
}

func releaseIP(conf netConf, facts nodeFacts) error {
	data, err := ipamConf(conf, facts)
	if err != nil {
		return err
	}
	if err := invoke.DelegateDel(context.Background(), "host-local", data, nil); err != nil {
		return fmt.Errorf("give the address back to host-local: %w", err)
	}
	return nil
}

// ipamConf leaves the gateway's address out of what host-local hands out.
func ipamConf(conf netConf, facts nodeFacts) ([]byte, error) {
	return json.Marshal(map[string]any{
		"cniVersion": conf.CNIVersion, "name": conf.Name,
		"ipam": map[string]any{
			"type": "host-local", "dataDir": conf.StateDir + "/networks",
			"ranges": [][]map[string]string{{{
				"subnet": facts.Subnet.String(), "rangeStart": facts.Gateway.Next().String(), "gateway": facts.Gateway.String(),
			}}},
		},
	})
}

// daemon is the node daemon, as the plugin sees it.
type daemon struct{ socket string }

// waitFacts gives a daemon that is just starting a few seconds.
func (d daemon) waitFacts() (nodeFacts, error) {
	var facts nodeFacts
	var err error
	for range 50 {
		if err = d.do(http.MethodGet, "/node", nil, &facts); err == nil {
			return facts, nil
		}
		time.Sleep(200 * time.Millisecond)
	}
	return facts, fmt.Errorf("the SDN's node daemon does not answer at %s: %w", d.socket, err)
}

func (d daemon) do(method, path string, in, out any) error {
	client := http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", d.socket)
		},
	}}
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequest(method, "http://sdn"+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return errors.New(strings.TrimSpace(string(text)))
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(text, out)
}
