package gather

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/sdn-tunnel/sdn-tunnel/internal/meshstatus"
	"github.com/sdn-tunnel/sdn-tunnel/internal/version"
)

// Options of Run.
type Options struct {
	meshstatus.Options
	// Since is how far back logs go.
	Since time.Duration
	// Progress, if not nil, is told what is done. It may be called by several goroutines.
	Progress func(cluster, what string)

	open func(ctx context.Context, m meshstatus.Member) (cluster, error) // tests have their own
}

// cluster is where things are gathered.
type cluster interface {
	// objects lists what there is of a kind.
	objects(ctx context.Context, r resource, namespace string) ([]map[string]any, error)
	pods(ctx context.Context, namespace string) ([]corev1.Pod, error)
	log(ctx context.Context, pod *corev1.Pod, o *corev1.PodLogOptions) ([]byte, error)
	// dump runs the agent's own dump in its pod.
	dump(ctx context.Context, pod *corev1.Pod) ([]byte, error)
}

// Missing is something that could not be gathered.
type Missing struct {
	Cluster, What string
	Err           error
}

// String is one line.
func (m Missing) String() string { return fmt.Sprintf("%s: %s: %v", m.Cluster, m.What, m.Err) }

const (
	// clustersAtOnce and podsAtOnce bound what is asked at a time.
	clustersAtOnce, podsAtOnce = 8, 10
	// maxLog bounds one log, in bytes.
	maxLog = 5 << 20
	// podTimeout bounds what is asked of one pod.
	podTimeout = 30 * time.Second
	folder     = "sdn-tunnel-gather"
)

// ErrNothing says that no cluster could be read.
var ErrNothing = errors.New("nothing could be gathered: no cluster could be read")

// Run writes a tar.gz to w. What could not be gathered is in the archive, too, as missing.txt.
func Run(ctx context.Context, o Options, w io.Writer) ([]Missing, error) {
	if o.open == nil {
		o.open = connect
	}
	zip := gzip.NewWriter(w)
	r := &run{Options: o, archive: tar.NewWriter(zip), now: time.Now()}
	r.status(ctx)
	var group errgroup.Group
	group.SetLimit(clustersAtOnce)
	for _, m := range o.Members {
		group.Go(func() error {
			r.cluster(ctx, m)
			return nil
		})
	}
	_ = group.Wait() // each says what is missing
	if err := ctx.Err(); err != nil {
		return r.missing, err
	}
	r.close()
	err := errors.Join(r.err, r.archive.Close(), zip.Close())
	if err == nil && r.opened == 0 {
		err = ErrNothing
	}
	return r.missing, err
}

// run is one archive in the making.
type run struct {
	Options
	now time.Time

	mu      sync.Mutex
	archive *tar.Writer
	missing []Missing
	opened  int
	err     error
}

// status puts the mesh's status in.
func (r *run) status(ctx context.Context) {
	r.progress("all", "status")
	report := meshstatus.Make(r.now, meshstatus.Read(ctx, r.Options.Options))
	var table, text bytes.Buffer
	r.lacks("all", "status", errors.Join(report.WriteTable(&table, meshstatus.Format{Wide: true}), report.WriteJSON(&text)))
	r.add("status.txt", table.Bytes())
	r.add("status.json", text.Bytes())
}

func (r *run) cluster(ctx context.Context, m meshstatus.Member) {
	c, err := r.open(ctx, m)
	if err != nil {
		r.lacks(m.Name, "its API", err)
		return
	}
	r.mu.Lock()
	r.opened++
	r.mu.Unlock()
	for _, kind := range resources {
		namespace := ""
		if kind.inNamespace {
			namespace = r.Namespace
		}
		r.kind(ctx, m.Name, c, kind, kind.Resource, namespace)
	}
	r.kind(ctx, m.Name, c, meshEvents, "mesh-events", metav1.NamespaceDefault)
	pods, err := c.pods(ctx, r.Namespace)
	r.lacks(m.Name, "its pods", err)
	var group errgroup.Group
	group.SetLimit(podsAtOnce)
	for i := range pods {
		group.Go(func() error {
			r.pod(ctx, m.Name, c, &pods[i])
			return nil
		})
	}
	_ = group.Wait() // each says what is missing
}

// kind packs the objects of one kind into the file of that name.
func (r *run) kind(ctx context.Context, member string, c cluster, kind resource, file, namespace string) {
	r.progress(member, file)
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(r.Timeout, podTimeout))
	defer cancel()
	objects, err := c.objects(ctx, kind, namespace)
	r.lacks(member, file, err)
	r.objects(path.Join(member, file+".yaml"), kind, objects)
}

func (r *run) objects(name string, kind resource, objects []map[string]any) {
	if len(objects) == 0 {
		return
	}
	var b bytes.Buffer
	for _, o := range objects {
		text, err := yaml.Marshal(kind.of(o))
		if err != nil {
			r.lacks(path.Dir(name), name, err)
			return
		}
		b.WriteString("---\n")
		b.Write(text)
	}
	r.add(name, b.Bytes())
}

// pod takes a pod's logs, and of an agent what it shows of its node.
func (r *run) pod(ctx context.Context, name string, c cluster, pod *corev1.Pod) {
	ctx, cancel := context.WithTimeout(ctx, podTimeout)
	defer cancel()
	if pod.Labels["app.kubernetes.io/component"] == "agent" {
		r.progress(name, "node "+pod.Spec.NodeName)
		text, err := c.dump(ctx, pod)
		r.lacks(name, "the dump of node "+pod.Spec.NodeName, err)
		if err == nil {
			r.add(path.Join(name, "nodes", pod.Spec.NodeName+".json"), text)
		}
	}
	for _, container := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
		for _, previous := range []bool{false, true} {
			if previous && container.RestartCount == 0 {
				continue
			}
			options := &corev1.PodLogOptions{Container: container.Name, Previous: previous, Timestamps: true, LimitBytes: new(int64(maxLog))}
			if r.Since > 0 {
				options.SinceSeconds = new(int64(r.Since.Seconds()))
			}
			file := container.Name + ".log"
			if previous {
				file = container.Name + ".previous.log"
			}
			r.progress(name, "log of "+pod.Name)
			text, err := c.log(ctx, pod, options)
			r.lacks(name, fmt.Sprintf("%s of pod %s", file, pod.Name), err)
			if err == nil {
				r.add(path.Join(name, "logs", pod.Name, file), text)
			}
		}
	}
}

// close says what is missing, and what this is.
func (r *run) close() {
	slices.SortFunc(r.missing, func(a, b Missing) int { return cmp.Compare(a.String(), b.String()) })
	var b strings.Builder
	for _, m := range r.missing {
		b.WriteString(m.String() + "\n")
	}
	r.add("missing.txt", []byte(b.String()))
	r.add("version.txt", fmt.Appendf(nil, "sdn-tunnel %s, gathered %s\n", version.String(), r.now.UTC().Format(time.RFC3339)))
}

func (r *run) progress(cluster, what string) {
	if r.Progress != nil {
		r.Progress(cluster, what)
	}
}

// lacks notes that something could not be gathered; nil: it could.
func (r *run) lacks(cluster, what string, err error) {
	if err == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.missing = append(r.missing, Missing{cluster, what, err})
}

// add puts a file into the archive.
func (r *run) add(name string, content []byte) {
	content = guard(content)
	r.mu.Lock()
	defer r.mu.Unlock()
	header := &tar.Header{Name: path.Join(folder, name), Mode: 0o600, Size: int64(len(content)), ModTime: r.now.Truncate(time.Second), Format: tar.FormatPAX}
	if err := r.archive.WriteHeader(header); err != nil {
		r.err = cmp.Or(r.err, fmt.Errorf("write %s: %w", name, err))
		return
	}
	if _, err := r.archive.Write(content); err != nil {
		r.err = cmp.Or(r.err, fmt.Errorf("write %s: %w", name, err))
	}
}

// secret is a JSON Web Token (RFC 7519), an OpenShift token, the begin of a private key,
// a password in a URL, or the header that carries credentials.
var secret = regexp.MustCompile(`eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.|sha256~[A-Za-z0-9_-]{16,}|PRIVATE KEY|[a-z]+://[^/\s:@]+:[^/\s@]+@|(?i:authorization: *(bearer|basic))`)

const leftOut = "# a line with what looks like a secret is left out\n"

// guard leaves out lines that have a secret in them.
func guard(content []byte) []byte {
	if !secret.Match(content) {
		return content
	}
	var b bytes.Buffer
	key := false
	for line := range bytes.Lines(content) {
		begins := bytes.Contains(line, []byte("PRIVATE KEY"))
		if begins || key || secret.Match(line) {
			b.WriteString(leftOut)
		} else {
			b.Write(line)
		}
		if begins { // up to its end
			key = bytes.Contains(line, []byte("BEGIN")) && !bytes.Contains(line, []byte("END"))
		}
	}
	return b.Bytes()
}

// listOptions of one page.
func listOptions(selector, next string) metav1.ListOptions {
	return metav1.ListOptions{LabelSelector: selector, Limit: 500, Continue: next}
}
