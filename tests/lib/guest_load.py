# SPDX-License-Identifier: BSD-3-Clause
"""Writers in a guest, each with a share of /dev/vda, that check what they wrote until told to stop.

    guest.check(LOAD); ...; check_sums(guest, image)
"""
import hashlib

WRITERS = 12
SHARE = 256 << 10  # bytes of the disk that a writer has for itself

# Each writes its share anew and reads it back, past the guest's cache, until it is told to stop;
# its last sum stays. Half of them leave it to the cache to write many blocks at a time.
LOAD = f"""
writer() {{
    n=0
    while [ ! -e /tmp/enough ]; do
        head -c {SHARE} /dev/urandom >/tmp/data$1
        want=$(md5sum </tmp/data$1)
        if [ $(($1 % 2)) = 0 ]; then
            dd if=/tmp/data$1 of=/dev/vda bs=16k seek=$(($1 * 16)) oflag=direct conv=notrunc
        else
            dd if=/tmp/data$1 of=/dev/vda bs=64k seek=$(($1 * 4)) conv=notrunc,fsync
        fi 2>/dev/null || echo "writer $1: error" >>/tmp/bad
        got=$(dd if=/dev/vda bs=64k skip=$(($1 * 4)) count=4 iflag=direct 2>/dev/null | md5sum)
        [ "$want" = "$got" ] || echo "writer $1: $want is $got" >>/tmp/bad
        n=$((n + 1))
        echo $n >/tmp/n$1
    done
    echo "$1 $want" >>/tmp/sums
}}
: >/tmp/bad
: >/tmp/sums
for w in $(seq 0 {WRITERS - 1}); do
    writer $w &
done
"""

FINISH = f"""
touch /tmp/enough
until [ $(wc -l </tmp/sums) = {WRITERS} ]; do
    sleep 0.1
done
cat /tmp/bad /tmp/sums
"""


def check_sums(guest, image):
    output = guest.check(FINISH)
    assert "writer" not in output, output
    sums = {}
    for line in output.splitlines():
        number, value = line.split()[:2]
        sums[int(number)] = value
    data = image.read_bytes()
    assert sums == {n: hashlib.md5(data[n * SHARE:(n + 1) * SHARE]).hexdigest()
                    for n in range(WRITERS)}
