package apitest

import (
	"net"
	"strconv"
	"testing"
)

// TestFreePorts: a port is given once, although nothing listens on it, and can be used.
func TestFreePorts(t *testing.T) {
	ports, err := FreePorts(3)
	if err != nil {
		t.Fatal(err)
	}
	for _, port := range ports {
		if reserve(port) == nil {
			t.Errorf("port %d was given twice", port)
		}
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(int(port))))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
	}
}

// TestReserveInUse: a port that somebody listens on is not taken, and can be later.
func TestReserveInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := uint16(l.Addr().(*net.TCPAddr).Port)
	if reserve(port) == nil {
		t.Errorf("port %d is in use and was taken", port)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := reserve(port); err != nil {
		t.Errorf("port %d is free again: %v", port, err)
	}
}
