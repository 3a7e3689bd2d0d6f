package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/berth-storage/berth/internal/control"
)

// decision is what a person may decide over a quarantined volume.
type decision struct {
	name, short, long string
	does              func(v control.Volume) string // what is about to happen
}

var decisions = []decision{{
	"release", "Publish a volume as it is, with all that is on it",
	`Release says that nobody's data is on the volume, or that it may be seen: nothing
is erased, and whichever claim gets the volume next sees what is on it.`,
	func(control.Volume) string {
		return "Nothing is erased. It is published as it is, and whichever claim gets it next sees what is on it."
	},
}, {
	"republish", "Give a volume back to the claim that had it",
	`Republish makes a PersistentVolume that only the claim of this namespace and name
can have, with all the data. A claim that is Lost has to be deleted and made
again under its name; the new one takes the volume.`,
	func(v control.Volume) string {
		return fmt.Sprintf("Nothing is erased. A PV is made for claim %s alone; who makes a claim of that name gets the data.", v.Claim)
	},
}, {
	"wipe", "Erase a volume, and publish it as a new one",
	`Wipe erases the volume as its class says, and publishes it as new. What was on it
is gone. A volume out of a pool is removed, and its space goes back to the pool.`,
	func(v control.Volume) string {
		if v.Pool != "" {
			return fmt.Sprintf("ALL DATA ON IT IS ERASED, and its space goes back to pool %s.", v.Pool)
		}
		return fmt.Sprintf("ALL DATA ON IT IS ERASED, as class %s says, and it is published as new.", v.Class)
	},
}}

// errNotDone is why nothing was done where nobody could be asked.
var errNotDone = errors.New("nothing was done: --yes is not given, and there is no terminal to ask at")

func decisionCommand(d decision, client func() *control.Client) *cobra.Command {
	var yes bool
	q := control.Request{Command: d.name}
	cmd := &cobra.Command{
		Use:   d.name + " ID",
		Short: d.short,
		Long:  d.long,
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), askPatience)
			defer cancel()
			dry := q
			dry.Dry = true
			v, err := client().Ask(ctx, args[0], dry)
			if err != nil {
				return noAgent(err)
			}
			announce(cmd.OutOrStdout(), d, v)
			if !yes {
				if err := confirm(cmd.InOrStdin(), cmd.OutOrStdout(), v.ID); err != nil {
					return err
				}
			}
			// A person may have taken long; the agent's time begins now.
			ctx, cancel = context.WithTimeout(cmd.Context(), askPatience)
			defer cancel()
			q.Identity, q.Path, q.Claim = v.Identity, v.Path, claimOf(q, v)
			if _, err := client().Ask(ctx, v.ID, q); err != nil {
				return err
			}
			printWrapped(cmd.OutOrStdout(), "", fmt.Sprintf("The agent does it; berth volume show %s says how far it is.", v.ID))
			return nil
		},
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do it without asking")
	if d.name == "republish" {
		cmd.Flags().StringVar(&q.Claim, "claim", "", "NAMESPACE/NAME of the claim to publish it for (default: the one that had it)")
	}
	return cmd
}

// claimOf is the claim that the person was shown, for a command that takes one.
func claimOf(q control.Request, v control.Volume) string {
	if q.Command == "republish" {
		return v.Claim
	}
	return ""
}

// announce says what is about to be done, and to what.
func announce(w io.Writer, d decision, v control.Volume) {
	printDetails(w, v)
	says := d.does(v)
	if v.PV != "" {
		says += fmt.Sprintf(" PV %s is deleted first.", v.PV)
	}
	printWrapped(w, fmt.Sprintf("%-11s", d.name), says)
}

// confirm lets a person on a terminal type the volume's id, or yes.
func confirm(in io.Reader, out io.Writer, id string) error {
	f, ok := in.(*os.File)
	if !ok || !terminal(f) {
		return errNotDone
	}
	return askTo(in, out, id)
}

func askTo(in io.Reader, out io.Writer, id string) error {
	fmt.Fprint(out, "Type yes, or the id, to do it: ")
	line, err := bufio.NewReader(in).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("reading the answer: %w", err)
	}
	if answer := strings.TrimSpace(line); answer != "yes" && answer != id {
		return fmt.Errorf("nothing was done: found %q; allowed: yes, or the volume's id", answer)
	}
	return nil
}

func terminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
