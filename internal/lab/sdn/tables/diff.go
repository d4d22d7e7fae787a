package tables

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
)

// Change is one line of an `ovs-ofctl bundle` file.
type Change string

// Diff is what turns the bridge of old into that of new, in order, for one bundle. Like
// OpenShift's own node process it deletes widely: every IP and ARP flow with the exact
// address of a pod that is gone or has moved, whoever made it, and all flows of a
// network id in a policy table when its policy changes; other flows strictly. It
// touches no flow otherwise that is not in old.
func Diff(old, new Node) []Change {
	before, after := index(old.Flows()), index(new.Flows())
	var changes []Change
	swept := func(Flow) bool { return false }
	for _, ip := range gonePods(old, new) {
		for _, m := range []string{"ip,nw_dst", "ip,nw_src", "arp,nw_dst", "arp,nw_src"} {
			changes = append(changes, Change(fmt.Sprintf("flow delete %s=%s", m, ip)))
		}
	}
	for _, id := range changedPolicies(old, new) {
		changes = append(changes,
			Change(fmt.Sprintf("flow delete table=%d,reg0=%#x", PolicyEgress, id)),
			Change(fmt.Sprintf("flow delete table=%d,reg1=%#x", PolicyIngress, id)))
		egress, ingress, others := canonical(fmt.Sprintf("reg0=%s", hex(id))), fmt.Sprintf("reg1=%s", hex(id)), swept
		swept = func(f Flow) bool {
			return f.Table == PolicyEgress && hasField(f, egress) || f.Table == PolicyIngress && hasField(f, ingress) || others(f)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(before)) {
		if _, ok := after[key]; !ok && !swept(before[key]) {
			changes = append(changes, Change("flow delete_strict "+key))
		}
	}
	for _, key := range slices.Sorted(maps.Keys(after)) {
		if f := after[key]; before[key] != f || swept(f) {
			changes = append(changes, Change("flow add "+f.String()))
		}
	}
	return changes
}

func index(flows []Flow) map[string]Flow {
	m := make(map[string]Flow, len(flows))
	for _, f := range flows {
		m[f.key()] = f
	}
	return m
}

func hasField(f Flow, field string) bool {
	return slices.Contains(fields(f.Match), field)
}

// gonePods are the addresses of pods that new does not have in the same place.
func gonePods(old, new Node) []string {
	var ips []string
	for _, p := range old.Pods {
		if !slices.Contains(new.Pods, p) {
			ips = append(ips, p.IP.String())
		}
	}
	slices.Sort(ips)
	return slices.Compact(ips)
}

// changedPolicies are the network ids whose policy differs; an id that is new has no
// flows to sweep.
func changedPolicies(old, new Node) []uint32 {
	if old.Mode != NetworkPolicy {
		return nil
	}
	now := map[uint32]Namespace{}
	for _, ns := range new.Policies {
		now[ns.VNID] = ns
	}
	var ids []uint32
	for _, ns := range old.Policies {
		if !reflect.DeepEqual(now[ns.VNID], ns) {
			ids = append(ids, ns.VNID)
		}
	}
	slices.Sort(ids)
	return ids
}
