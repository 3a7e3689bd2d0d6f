package supervisor

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"

	"github.com/berth-storage/berth/test/cluster/internal/node"
	"github.com/berth-storage/berth/test/cluster/internal/state"
)

// listen opens the socket. Only root can reach into the cluster's directory.
func listen(dir string) (net.Listener, error) {
	_ = os.Remove(filepath.Join(dir, socket))
	d, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("opening the socket: %w", err)
	}
	// The directory stays open: the listener's path runs through it.
	l, err := net.Listen("unix", shortPath(d))
	if err != nil {
		return nil, fmt.Errorf("opening the socket: %w", err)
	}
	if err := os.Chmod(filepath.Join(dir, socket), 0o600); err != nil {
		return nil, fmt.Errorf("opening the socket: %w", err)
	}
	return l, nil
}

func (s *Supervisor) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", answer(func(*http.Request, struct{}) (any, error) {
		return s.status(), nil
	}))
	mux.HandleFunc("POST /nodes", answer(func(r *http.Request, n NewNode) (any, error) {
		return s.addNode(n)
	}))
	mux.HandleFunc("POST /nodes/{node}/stop", answer(func(r *http.Request, _ struct{}) (any, error) {
		return nil, s.stopNode(r.PathValue("node"))
	}))
	mux.HandleFunc("POST /nodes/{node}/start", answer(func(r *http.Request, _ struct{}) (any, error) {
		return nil, s.restartNode(r.PathValue("node"))
	}))
	mux.HandleFunc("POST /nodes/{node}/lose", answer(func(r *http.Request, l Loss) (any, error) {
		return nil, s.loseNode(r.PathValue("node"), l)
	}))
	mux.HandleFunc("POST /nodes/{node}/disks", answer(func(r *http.Request, d state.Disk) (any, error) {
		return s.addDisk(r.PathValue("node"), d)
	}))
	mux.HandleFunc("DELETE /nodes/{node}/disks/{disk}", answer(func(r *http.Request, how Removal) (any, error) {
		return nil, s.removeDisk(r.PathValue("node"), r.PathValue("disk"), how)
	}))
	mux.HandleFunc("POST /images", answer(func(r *http.Request, i state.Image) (any, error) {
		return nil, s.loadImage(i)
	}))
	return mux
}

// answer decodes a request, does it and encodes what comes of it. The work is
// not bound to the request: half a node is worse than a reply nobody reads.
func answer[T any](do func(*http.Request, T) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var in T
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			http.Error(w, "reading the request: "+err.Error(), http.StatusBadRequest)
			return
		}
		out, err := do(r, in)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		_ = json.NewEncoder(w).Encode(out)
	}
}

func (s *Supervisor) status() *Status {
	s.mu.Lock()
	st := &Status{Phase: s.phase, Components: s.group.Status()}
	if s.failure != nil {
		st.Error = s.failure.Error()
	}
	var lives []*life
	for i := range s.state.Nodes {
		n := &s.state.Nodes[i]
		st.Nodes = append(st.Nodes, NodeStatus{
			Name: n.Name, Status: n.Status, Address: s.state.Address(n),
			Disks: append([]state.Disk{}, n.Disks...),
		})
		lives = append(lives, s.lives[n.Name])
	}
	s.mu.Unlock()
	// A node may be busy mounting a disk; nobody need wait for that here.
	for i, l := range lives {
		if l == nil {
			continue
		}
		st.Nodes[i].PID = l.pid
		if reply, err := l.conn.TryAsk(node.Request{Do: node.DoStatus}); err == nil {
			st.Nodes[i].Components = reply.Status
		}
	}
	return st
}
