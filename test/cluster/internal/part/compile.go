package part

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

// compile builds the part's programs into out.
func (b *Builder) compile(ctx context.Context, p Part, out string) error {
	b.report(Event{Part: p.Name, Text: "reading packages"})
	total, err := b.count(ctx, p)
	if err != nil {
		return err
	}
	target := out + "/"
	if p.Programs[0] == "." {
		target += p.Name
	}
	args := []string{
		"build", "-v", "-buildvcs=false", "-tags", p.Tags,
		"-ldflags", strings.TrimSpace("-s -w " + p.LDFlags), "-o", target,
	}
	cmd := b.command(ctx, p, append(args, p.Programs...)...)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return fmt.Errorf("building part %s: %w", p.Name, err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("building part %s: %w", p.Name, err)
	}
	said := b.follow(p.Name, total, stderr)
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("building part %s: %w\n%s", p.Name, err, said)
	}
	return nil
}

// follow reports a build's progress from what `go build -v` says, and returns
// the last lines that are not progress.
func (b *Builder) follow(name string, total int, stderr io.Reader) string {
	done := 0
	var rest []string
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		line := lines.Text()
		switch {
		case strings.HasPrefix(line, "go: downloading "):
			b.report(Event{Part: name, Text: line[len("go: "):]})
		case line != "" && !strings.ContainsAny(line, " \t"):
			done++
			b.report(Event{Part: name, Done: done, Total: total})
		default:
			rest = append(rest, line)
			if len(rest) > 40 {
				rest = rest[1:]
			}
		}
	}
	return strings.Join(rest, "\n")
}

// count downloads what the part needs and counts its packages.
func (b *Builder) count(ctx context.Context, p Part) (int, error) {
	cmd := b.command(ctx, p, append([]string{"list", "-deps", "-tags", p.Tags}, p.Programs...)...)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return 0, fmt.Errorf("listing part %s: %w", p.Name, err)
	}
	var out strings.Builder
	cmd.Stdout = &out
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("listing part %s: %w", p.Name, err)
	}
	said := b.follow(p.Name, 0, stderr)
	if err := cmd.Wait(); err != nil {
		return 0, fmt.Errorf("listing part %s: %w\n%s", p.Name, err, said)
	}
	return strings.Count(out.String(), "\n"), nil
}

func (b *Builder) command(ctx context.Context, p Part, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir(b.Root, p.Name)
	// The nodes' programs run in a root directory of their own, so they must
	// need no library of the machine.
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	return cmd
}

func (b *Builder) report(e Event) {
	if b.Report != nil {
		b.Report(e)
	}
}
