package vswitch

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/sdn-tunnel/sdn-tunnel/ovsflow"
)

// The columns that parseBridge and parseInterface read, in their order.
const (
	bridgeColumns    = "datapath_type,ports"
	portColumns      = "_uuid"
	interfaceColumns = "ofport,external_ids,error,ifindex"
)

// parseRows reads what `ovs-vsctl --format=json --columns=… find` prints: rows that all
// have as many cells as columns were asked for. A cell is a JSON atom, ["set",[…]] or
// ["map",[…]] (RFC 7047, section 5.1).
func parseRows(out string, columns int) ([][]json.RawMessage, error) {
	var reply struct{ Data [][]json.RawMessage }
	if err := json.Unmarshal([]byte(out), &reply); err != nil {
		return nil, err
	}
	for i, row := range reply.Data {
		if len(row) != columns {
			return nil, fmt.Errorf("row %d has %d cells, want %d", i, len(row), columns)
		}
	}
	return reply.Data, nil
}

// parseBridge reads the datapath's type; an unset one is "". ports are the identities of
// the bridge's ports.
func parseBridge(row []json.RawMessage) (datapathType string, ports []string) {
	_ = json.Unmarshal(row[0], &datapathType)
	return datapathType, parseUUIDs(row[1])
}

// parsePort reads a port's identity.
func parsePort(row []json.RawMessage) string {
	if ids := parseUUIDs(row[0]); len(ids) == 1 {
		return ids[0]
	}
	return ""
}

// parseUUIDs reads ["uuid",id], or a set of such: ["set",[["uuid",id],…]].
func parseUUIDs(cell json.RawMessage) []string {
	var one [2]string
	if json.Unmarshal(cell, &one) == nil && one[0] == "uuid" {
		return []string{one[1]}
	}
	var parts []json.RawMessage
	var kind string
	var members []json.RawMessage
	if json.Unmarshal(cell, &parts) != nil || len(parts) != 2 ||
		json.Unmarshal(parts[0], &kind) != nil || kind != "set" || json.Unmarshal(parts[1], &members) != nil {
		return nil
	}
	var ids []string
	for _, m := range members {
		if json.Unmarshal(m, &one) == nil && one[0] == "uuid" {
			ids = append(ids, one[1])
		}
	}
	return ids
}

// parseInterface adds to s what the interface's row says. A cell that is an empty set
// instead of an atom has no value.
func parseInterface(row []json.RawMessage, s *State) {
	var ofport int64 // -1: the switch could not make the port
	if json.Unmarshal(row[0], &ofport) == nil && ofport > 0 && ofport < 1<<32 {
		s.OFPort = uint32(ofport)
	}
	ids := parseMap(row[1])
	s.Tagged = ids[tagKey] == tagValue
	s.Link, _ = strconv.Atoi(ids[linkKey])
	if json.Unmarshal(row[2], &s.Error) != nil {
		s.Error = ""
	}
	// A datapath in user space keeps a port's number when the link goes.
	var ifindex int64
	if json.Unmarshal(row[3], &ifindex) == nil && ifindex == 0 && s.OFPort > 0 {
		s.OFPort, s.Error = 0, "its link is gone (No such device)"
	}
}

// parseMap reads ["map",[[key,value],…]] of strings; anything else is an empty map.
func parseMap(cell json.RawMessage) map[string]string {
	var parts []json.RawMessage
	var kind string
	var pairs [][2]string
	if json.Unmarshal(cell, &parts) != nil || len(parts) != 2 ||
		json.Unmarshal(parts[0], &kind) != nil || kind != "map" ||
		json.Unmarshal(parts[1], &pairs) != nil {
		return nil
	}
	m := make(map[string]string, len(pairs))
	for _, p := range pairs {
		m[p[0]] = p[1]
	}
	return m
}

var ourCookie = fmt.Sprintf("cookie=%#x", ovsflow.Cookie)

// concernsUs tells whether a line of `ovs-ofctl monitor` is about a flow of ours, or
// says that changes were too many to be told one by one.
func concernsUs(line string) bool {
	for _, word := range strings.FieldsFunc(line, func(r rune) bool { return r == ' ' || r == ',' || r == '\n' }) {
		if word == ourCookie {
			return true
		}
	}
	return strings.Contains(line, "NXT_FLOW_MONITOR_PAUSED") || strings.Contains(line, "NXT_FLOW_MONITOR_RESUMED")
}
