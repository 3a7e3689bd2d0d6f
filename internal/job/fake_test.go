package job

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
)

// server is an API server for Jobs without a network, so that the bubble's
// clock is the only one. A Job that is deleted in the foreground stays until
// reap, as one whose pod is ending.
type server struct {
	t       *testing.T
	mu      sync.Mutex
	jobs    map[string]*batchv1.Job
	serial  int
	watches []*io.PipeWriter
	log     []string // what was asked
	down    bool
	refuse  *apierrors.StatusError // for every request
}

var jobResource = schema.GroupResource{Group: "batch", Resource: resourceName}

// newServer returns a server and a client of it, in namespace "berth".
func newServer(t *testing.T) (*server, *Client) {
	s := &server{t: t, jobs: map[string]*batchv1.Job{}}
	c, err := NewClient(&rest.Config{Host: "http://api", Transport: s}, "berth")
	if err != nil {
		t.Fatal(err)
	}
	return s, c
}

// RoundTrip answers one request.
func (s *server) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	const base = "/apis/batch/v1/namespaces/berth/jobs"
	name := strings.TrimPrefix(strings.TrimPrefix(r.URL.Path, base), "/")
	verb := r.Method
	if r.URL.Query().Get("watch") != "" {
		verb = "WATCH"
		name, _ = strings.CutPrefix(r.URL.Query().Get("fieldSelector"), "metadata.name=")
	}
	if !strings.HasPrefix(r.URL.Path, base) {
		s.t.Errorf("%s %s is asked for", r.Method, r.URL)
	}
	s.log = append(s.log, verb)
	if s.down {
		return nil, errors.New("connection refused")
	}
	if s.refuse != nil {
		return status(s.refuse), nil
	}
	switch verb {
	case "WATCH":
		read, write := io.Pipe()
		s.watches = append(s.watches, write)
		return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"application/json"}}, Body: read}, nil
	case "POST":
		j, ok := decode(s.t, body).(*batchv1.Job)
		if !ok {
			s.t.Errorf("%T is created", j)
		}
		if s.jobs[j.Name] != nil {
			return status(apierrors.NewAlreadyExists(jobResource, j.Name)), nil
		}
		j.UID = types.UID("job-" + strconv.Itoa(s.serial))
		s.store(j)
		return answer(201, "Job", j), nil
	case "GET":
		if j := s.jobs[name]; j != nil {
			return answer(200, "Job", j), nil
		}
		return status(apierrors.NewNotFound(jobResource, name)), nil
	}
	return s.delete(name, body), nil
}

func (s *server) delete(name string, body []byte) *http.Response {
	j := s.jobs[name]
	options, ok := decode(s.t, body).(*metav1.DeleteOptions)
	switch {
	case j == nil:
		return status(apierrors.NewNotFound(jobResource, name))
	case !ok || options.Preconditions == nil || options.Preconditions.UID == nil:
		s.t.Error("a deletion without the UID as a condition")
	case *options.Preconditions.UID != j.UID:
		return status(apierrors.NewConflict(jobResource, name, errors.New("another UID")))
	case *options.PropagationPolicy == metav1.DeletePropagationForeground:
		s.log = append(s.log, "foreground")
		j = j.DeepCopy()
		j.DeletionTimestamp = new(metav1.Now())
		s.store(j)
		return answer(200, "Job", j)
	}
	s.gone(name)
	return answer(200, "Status", metav1.Status{Status: "Success"})
}

// store takes in a Job's new form. The caller holds mu.
func (s *server) store(j *batchv1.Job) {
	s.serial++
	j.ResourceVersion = strconv.Itoa(s.serial)
	kind := "MODIFIED"
	if s.jobs[j.Name] == nil {
		kind = "ADDED"
	}
	s.jobs[j.Name] = j
	s.tell(kind, j)
}

func (s *server) gone(name string) {
	j := s.jobs[name]
	delete(s.jobs, name)
	s.tell("DELETED", j)
}

// tell writes to the watches, each in a goroutine, since a watch that nobody
// reads from any more must not keep the others waiting.
func (s *server) tell(kind string, object any) {
	line, err := json.Marshal(map[string]any{"type": kind, "object": named("Job", object)})
	if err != nil {
		s.t.Error(err)
	}
	for _, w := range s.watches {
		go func() { _, _ = w.Write(line) }() // fails when the watch was stopped
	}
}

// endWatches ends them all, as a server does that is restarted.
func (s *server) endWatches() {
	for _, w := range s.watches {
		w.Close()
	}
	s.watches = nil
}

// do changes the server under its lock.
func (s *server) do(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

// edit changes a Job as the Job controller does.
func (s *server) edit(name string, change func(*batchv1.Job)) {
	s.do(func() {
		if s.jobs[name] == nil {
			s.t.Errorf("there is no Job %s", name)
			return
		}
		j := s.jobs[name].DeepCopy()
		change(j)
		s.store(j)
	})
}

// reap ends the pods of a Job that is being deleted.
func (s *server) reap(name string) { s.do(func() { s.gone(name) }) }

func ended(kind batchv1.JobConditionType, reason, message string) func(*batchv1.Job) {
	return func(j *batchv1.Job) {
		j.Status.Conditions = append(j.Status.Conditions, batchv1.JobCondition{Type: kind, Status: corev1.ConditionTrue, Reason: reason, Message: message})
	}
}

func decode(t *testing.T, data []byte) runtime.Object {
	scheme := runtime.NewScheme()
	metav1.AddToGroupVersion(scheme, schema.GroupVersion{Version: "v1"})
	if err := batchv1.AddToScheme(scheme); err != nil {
		t.Error(err)
	}
	object, _, err := serializer.NewCodecFactory(scheme).UniversalDeserializer().Decode(data, nil, nil)
	if err != nil {
		t.Error(err)
	}
	return object
}

func named(kind string, object any) map[string]any {
	data, err := json.Marshal(object)
	if err != nil {
		panic(err)
	}
	fields := map[string]any{}
	if err := json.Unmarshal(data, &fields); err != nil {
		panic(err)
	}
	fields["kind"], fields["apiVersion"] = kind, "batch/v1"
	if kind == "Status" {
		fields["apiVersion"] = "v1"
	}
	return fields
}

func answer(code int, kind string, object any) *http.Response {
	data, err := json.Marshal(named(kind, object))
	if err != nil {
		panic(err)
	}
	return &http.Response{StatusCode: code, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(string(data)))}
}

func status(err *apierrors.StatusError) *http.Response {
	return answer(int(err.ErrStatus.Code), "Status", err.ErrStatus)
}
