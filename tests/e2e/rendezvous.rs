//! Tests the first step of a distributed program: every node connects to rank 0 by its name.

use crate::harness::World;

/// A task as in SkyPilot's examples. Rank 0 may start last, so the other nodes retry.
const TASK: &str = r#"
name: rendezvous
num_nodes: 4
run: |
  export MASTER_ADDR=$(echo "$SKYPILOT_NODE_IPS" | head -n1)
  export WORLD_SIZE=$(echo "$SKYPILOT_NODE_IPS" | wc -l)
  exec python3 - <<'END'
  import os, socket, sys, time

  master, rank = os.environ["MASTER_ADDR"], int(os.environ["SKYPILOT_NODE_RANK"])
  if rank == 0:
      # Listens on one address only, because the sandbox's nodes share the ports of one machine.
      server = socket.create_server((socket.gethostbyname("node-0"), 29500))
      ranks = [0]
      while len(ranks) < int(os.environ["WORLD_SIZE"]):
          peer, _ = server.accept()
          with peer:
              ranks.append(int(peer.makefile().readline()))
      print("ranks", *sorted(ranks))
  else:
      for _ in range(1200):
          try:
              peer = socket.create_connection((master, 29500))
              break
          except OSError:
              time.sleep(0.1)
      else:
          sys.exit(f"{master} does not answer")
      with peer:
          peer.sendall(f"{rank}\n".encode())
  END
"#;

#[test]
fn every_node_connects_to_rank_zero() {
    let world = World::new();
    let ada = world.login("ada");
    // The nodes find each other by themselves; on a busy cluster the barrier would say in the log that names come late.
    let id = ada.submit_without_barrier(TASK);
    let task = ada.wait_for_status(&id, "completed");
    assert_eq!(task["metadata"]["succeeded_nodes"], 4);
    ada.run(["jobs", "logs", "--node", "0", &id])
        .success()
        .stdout("node-0 | ranks 0 1 2 3\n");
}
