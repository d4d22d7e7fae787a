package ovsflow

import (
	"fmt"
	"strings"

	"github.com/digitalocean/go-openvswitch/ovs"
)

// Difference is what separates the flows that are from those that should be. Both sides
// are in canonical order.
type Difference struct {
	Missing []*ovs.Flow // wanted and not there, or there with other actions
	Surplus []*ovs.Flow // there and not wanted
}

// Empty tells whether nothing is to be done.
func (d Difference) Empty() bool { return len(d.Missing) == 0 && len(d.Surplus) == 0 }

// Diff compares have with want. Only flows with our cookie count in have: the SDN's and
// anyone else's are none of our business.
func Diff(have, want []*ovs.Flow) (Difference, error) {
	var ours []*ovs.Flow
	for _, f := range have {
		if f.Cookie == Cookie {
			ours = append(ours, f)
		}
	}
	is, isTexts, err := index(ours, Text)
	if err != nil {
		return Difference{}, fmt.Errorf("flows on the bridge: %w", err)
	}
	should, shouldTexts, err := index(want, Text)
	if err != nil {
		return Difference{}, fmt.Errorf("wanted flows: %w", err)
	}
	var d Difference
	for _, t := range shouldTexts {
		if is[t] == nil {
			d.Missing = append(d.Missing, should[t])
		}
	}
	for _, t := range isTexts {
		if should[t] == nil {
			d.Surplus = append(d.Surplus, is[t])
		}
	}
	return d, nil
}

// DeleteOurs selects all flows with our cookie, for ovs-ofctl del-flows.
var DeleteOurs = fmt.Sprintf("cookie=%#x/-1", Cookie)

// Bundle is the input of `ovs-ofctl --bundle add-flows` that makes our flows equal to
// want in one atomic step: all that are ours are deleted, then want is added. Flows
// without our cookie are not touched.
func Bundle(want []*ovs.Flow) (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "delete %s\n", DeleteOurs)
	for _, f := range want {
		t, err := Text(f)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&b, "add %s\n", t)
	}
	return b.String(), nil
}
