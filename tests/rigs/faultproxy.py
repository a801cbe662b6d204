"""faultproxy.py PORT TARGET_PORT RULES [REQUESTS]: an HTTP proxy on 127.0.0.1 that spoils answers, one request a connection.

RULES is a file that is read for each request. A line is COUNT REGEX ACTION [ARG]: COUNT requests whose "METHOD /path?query" the
expression finds get the action; `*` is always, `1%` one in a hundred (the same ones in every run). The first line that fits decides.
Actions:
  status CODE    an answer without a body           delay SECONDS  the answer comes later
  reset          the connection is torn down        hang SECONDS   no answer, then the connection ends
  cut BYTES      the answer ends after so many      body BYTES     its body ends after so many: a listing or a read that breaks off
COUNT is counted in this process. Each request is a line in the file REQUESTS, with what was done to it."""
import asyncio, random, re, socket, struct, sys

listen_port, target_port, rules = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
requests = open(sys.argv[4], "a", buffering=1) if len(sys.argv) > 4 else None
used, dice = {}, random.Random(8)


def pick(line):
    for rule in open(rules).read().splitlines():
        parts = rule.split()
        if len(parts) < 3 or not re.search(parts[1], line):
            continue
        count = parts[0]
        if count.endswith("%"):
            if dice.random() * 100 >= float(count[:-1]):
                continue
        elif count != "*":
            if used.get(rule, 0) >= int(count):
                continue
            used[rule] = used.get(rule, 0) + 1
        return parts[2], (parts[3] if len(parts) > 3 else "0")
    return None, None


tasks = set()  # the loop itself holds tasks only weakly


async def serve(reader, writer):
    target = None
    task = asyncio.current_task()
    tasks.add(task)
    task.add_done_callback(tasks.discard)
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        line = head.split(b"\r\n", 1)[0].decode().rsplit(" ", 1)[0]
        action, arg = pick(line)
        length = re.search(rb"(?im)^content-length: *(\d+)", head)
        body = await reader.readexactly(int(length[1])) if length else b""
        if requests:
            requests.write(f"{line} {action or '-'}\n")
        if action == "status":
            writer.write(f"HTTP/1.1 {arg} Fault\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
            await writer.drain()
            return
        if action == "reset":
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return
        if action in ("delay", "hang"):
            await asyncio.sleep(float(arg))
            if action == "hang":
                return
        source, target = await asyncio.open_connection("127.0.0.1", target_port)
        target.write(re.sub(rb"(?im)^connection:.*\r\n", b"", head)[:-2] + b"Connection: close\r\n\r\n" + body)
        await target.drain()
        left = int(arg) if action == "cut" else None
        if action == "body":
            answer = await source.readuntil(b"\r\n\r\n")
            writer.write(answer)
            left = int(arg)
        while data := await source.read(65536):
            if left is not None:
                data, left = data[:left], left - len(data)
            writer.write(data)
            await writer.drain()
            if left is not None and left <= 0:
                break
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()
        if target:
            target.close()


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", listen_port, limit=1 << 20)
    print("ready", flush=True)
    await server.serve_forever()


asyncio.run(main())
