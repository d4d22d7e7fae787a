// Command test-app is the program that sdn-tunnel verify runs on every node of every
// member: a server that says who asked, and a prober that asks the servers of others.
//
//	test-app serve [-listen :8080] [-linger TIME]     TCP (HTTP) and UDP on one port
//	test-app probe < request.json      one JSON result on standard output
//	test-app ask < request.json        the same, of services instead of servers
//	test-app load < request.json       the same again and again, until standard input ends
//	test-app resolve [-server ADDRESS] TYPE NAME …   what a DNS server says, as JSON
//	test-app idle                      waits to be executed in (hostNetwork pods)
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"os/signal"
	"syscall"

	"github.com/sdn-tunnel/sdn-tunnel/samples/test-app/probe"
	"github.com/sdn-tunnel/sdn-tunnel/samples/test-app/resolve"
	"github.com/sdn-tunnel/sdn-tunnel/samples/test-app/server"
)

func main() {
	slog.SetDefault(slog.New(slog.NewTextHandler(os.Stderr, nil)))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "test-app:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	mode := "serve"
	if len(args) > 0 {
		mode, args = args[0], args[1:]
	}
	switch mode {
	case "serve":
		flags := flag.NewFlagSet("serve", flag.ContinueOnError)
		listen := flags.String("listen", ":8080", "address of the TCP and the UDP server")
		linger := flags.Duration("linger", 0, "how long to go on answering when told to end: others may not know it yet")
		if err := flags.Parse(args); err != nil {
			return err
		}
		s := server.Server{Pod: os.Getenv("POD_NAME"), Node: os.Getenv("NODE_NAME"), Linger: *linger}
		return s.ListenAndServe(ctx, *listen)
	case "probe":
		var req probe.Request
		if err := json.NewDecoder(os.Stdin).Decode(&req); err != nil {
			return fmt.Errorf("read the request from standard input: %w", err)
		}
		return json.NewEncoder(os.Stdout).Encode(probe.Run(ctx, req))
	case "ask":
		var req probe.ServicesRequest
		if err := json.NewDecoder(os.Stdin).Decode(&req); err != nil {
			return fmt.Errorf("read the request from standard input: %w", err)
		}
		return json.NewEncoder(os.Stdout).Encode(probe.Ask(ctx, req))
	case "load":
		return load(ctx, os.Stdin, os.Stdout)
	case "resolve":
		return resolveNames(ctx, args)
	case "idle":
		<-ctx.Done()
		return nil
	default:
		return fmt.Errorf("unknown mode %q: want serve, probe, ask, load, resolve or idle", mode)
	}
}

// load reads a request, and asks until there is nothing more to read.
func load(ctx context.Context, in io.Reader, out io.Writer) error {
	var req probe.LoadRequest
	from := json.NewDecoder(in)
	if err := from.Decode(&req); err != nil {
		return fmt.Errorf("read the request from standard input: %w", err)
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		_, _ = io.Copy(io.Discard, in)
		stop()
	}()
	return json.NewEncoder(out).Encode(probe.Load(ctx, req))
}

// resolveNames asks a DNS server, by default the first of this pod's resolv.conf, for names of a type.
func resolveNames(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("resolve", flag.ContinueOnError)
	address := flags.String("server", "", "address of the DNS server")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() < 2 {
		return errors.New("resolve: want a type and names")
	}
	server, err := resolve.Nameserver("/etc/resolv.conf")
	if *address != "" {
		var addr netip.Addr
		addr, err = netip.ParseAddr(*address)
		server = netip.AddrPortFrom(addr, 53)
	}
	if err != nil {
		return err
	}
	answers := make([]resolve.Answer, 0, flags.NArg()-1)
	for _, name := range flags.Args()[1:] {
		answers = append(answers, resolve.Ask(ctx, server, flags.Arg(0), name))
	}
	return json.NewEncoder(os.Stdout).Encode(answers)
}
