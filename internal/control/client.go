package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// Client asks the agent of this node.
type Client struct {
	path string
	http *http.Client
}

// NewClient returns a client for the socket at path. It connects with the first
// request.
func NewClient(path string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	}
	return &Client{path: path, http: &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}}
}

// Volumes returns all volumes of the node.
func (c *Client) Volumes(ctx context.Context) (out []Volume, err error) {
	return out, c.do(ctx, http.MethodGet, "/v1/volumes", nil, &out)
}

// Volume returns one volume, or ErrUnknown.
func (c *Client) Volume(ctx context.Context, id string) (out Volume, err error) {
	return out, c.do(ctx, http.MethodGet, "/v1/volumes/"+url.PathEscape(id), nil, &out)
}

// Ask gives a command; see Agent.
func (c *Client) Ask(ctx context.Context, id string, r Request) (out Volume, err error) {
	body, err := json.Marshal(r)
	if err != nil {
		return out, err
	}
	return out, c.do(ctx, http.MethodPost, "/v1/volumes/"+url.PathEscape(id), body, &out)
}

func (c *Client) do(ctx context.Context, method, path string, body []byte, out any) error {
	// The host is not looked at: the socket is the agent.
	r, err := http.NewRequestWithContext(ctx, method, "http://agent"+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := c.http.Do(r)
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	if err != nil {
		return fmt.Errorf("asking the agent at %s: %w", c.path, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusOK {
		if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
			return fmt.Errorf("reading the agent's answer: %w", err)
		}
		return nil
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxRequest))
	if err != nil {
		return fmt.Errorf("reading the agent's answer: %w", err)
	}
	kind := errors.New(resp.Status)
	for known, status := range statuses {
		if status == resp.StatusCode {
			kind = known
		}
	}
	return said{strings.TrimSpace(string(text)), kind}
}

// said is an error in the agent's words.
type said struct {
	text string
	kind error
}

func (s said) Error() string { return s.text }
func (s said) Unwrap() error { return s.kind }
