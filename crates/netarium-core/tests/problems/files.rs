//! Files, volumes and users.

use crate::assert_said;

#[test]
fn files_are_checked() {
    assert_said(&[
        (
            "nodes: {one: {files: {etc/a: x, /: x, /a/../b: x, /proc/sys/a: x, /dev: x}}}",
            &[
                "1:23: etc/a is no absolute path (write a path in the node, /etc/app.conf for example)",
                "1:33: / is the root of the node (write a path in the node, /etc/app.conf for example)",
                "1:39: /a/../b leads out of its folder (write a path in the node, /etc/app.conf for example)",
                "1:51: /proc/sys/a belongs to the kernel (write a path in the node, /etc/app.conf for example)",
                "1:67: /dev belongs to the kernel (write a path in the node, /etc/app.conf for example)",
            ],
        ),
        (
            "nodes: {one: {files: {/a: {from: /etc/shadow}, /b: {from: ../b}, /c: {from: a/../../b}, /d: {from: ''}}}}",
            &[
                "1:34: /etc/shadow is absolute (files come from the folder of the lab file, ./path)",
                "1:59: ../b leads out of its folder (files come from the folder of the lab file, ./path)",
                "1:77: a/../../b leads out of its folder (files come from the folder of the lab file, ./path)",
                "1:100:  is no path (files come from the folder of the lab file, ./path)",
            ],
        ),
        (
            "nodes: {one: {files: {/a: {from: ./no-file}}}}",
            &["1:34: cannot read ./no-file: it is not there"],
        ),
        (
            "nodes: {one: {files: {/a: {text: x, from: ./y}, /b: {}, /c: [x], /d: , /e: {txt: x}}}}",
            &[
                "1:27: a file has text or from (write {text: …} or {from: ./path})",
                "1:53: a file has text or from (write {text: …} or {from: ./path})",
                "1:61: a file must be text or a table (write its text, or {from: ./path} (an empty file is \"\"))",
                "1:68: a file must be text or a table (write its text, or {from: ./path} (an empty file is \"\"))",
                "1:76: a file has text or from (write {text: …} or {from: ./path})",
                "1:77: unknown key txt in a file (did you mean text?)",
            ],
        ),
        (
            "nodes: {one: {files: {/a: {text: x, mode: rw, owner: 'a b'}, /b: {text: x, mode: 4755}, /c: {text: x, mode: 0o644}}}}",
            &[
                "1:43: rw is no mode (write three octal digits: 0640 lets the group read)",
                "1:54: owner \"a b\" is no user (write user or user:group, by name or number)",
                "1:82: 4755 is no mode (write three octal digits: 0640 lets the group read)",
            ],
        ),
        (
            "nodes: {one: {files: {/a: x, /a/: y, /w: {from: ./w}, /w/a: z, /w/b/c: z}}}",
            &["1:30: the file /a is there twice", "1:55: the file /w/a is there twice"],
        ),
    ]);
}

#[test]
fn volumes_are_checked() {
    assert_said(&[
        (
            "nodes: {one: {volumes: [a, './a:/b:rw', {source: a}, {source: a, target: b}]}}",
            &[
                "1:25: a is no volume (write SOURCE:TARGET, ./site:/srv/site for example)",
                "1:28: ./a:/b:rw has one colon too many (write {source: ./a, target: /b, write: true})",
                "1:41: a volume has no target",
                "1:74: b is no absolute path (write a path in the node, /etc/app.conf for example)",
            ],
        ),
        (
            "nodes: {one: {volumes: ['Data:/a', './../b:/b', '~/c:/c', './no-d:/d', 'e:/sys']}}",
            &[
                "1:25: \"Data\" is no name for a volume: a name is made of a-z, 0-9 and -, and begins and ends with a letter or digit (write data)",
                "1:36: ./../b leads out of its folder (write a name, ./path for a folder beside the lab file, or an absolute path)",
                "1:49: ~/c begins with ~, which only shells know (write a name, ./path for a folder beside the lab file, or an absolute path)",
                "1:59: cannot use ./no-d: it is not there",
                "1:72: /sys belongs to the kernel (write a path in the node, /etc/app.conf for example)",
            ],
        ),
        (
            "nodes: {one: {volumes: ['a:/a', 'b:/a/'], files: {/a/b: x, /ab: x}}}",
            &[
                "1:33: two volumes are at /a",
                "1:51: /a/b lies in the volume at /a (put the file into the volume)",
            ],
        ),
        (
            "nodes: {one: {volumes: ['a:/usr/local', 'b:/var/log/netarium/x', 'c:/var/lib'], files: {/var/log/netarium: x}}}",
            &[
                "1:25: a volume at /usr/local would hide /usr/local/bin/netarium-probe",
                "1:41: /var/log/netarium/x is there in every node (write a path in the node, /etc/app.conf for example)",
                "1:89: /var/log/netarium is there in every node (write a path in the node, /etc/app.conf for example)",
            ],
        ),
        (
            "nodes: {one: {volumes: {a: /b}, nesting: maybe}}",
            &[
                "1:24: volumes must be a list, not a table (write [one, two])",
                "1:42: nesting is true or false, not maybe",
            ],
        ),
    ]);
}

#[test]
fn users_of_services_are_checked() {
    assert_said(&[(
        "nodes: {one: {services: [{name: a, run: [b], user: ''}, {name: c, run: [b], user: a:b:c}, {name: d, run: [b], user: 33:adm}]}}",
        &[
            "1:52: user \"\" is no user (write user or user:group, by name or number)",
            "1:83: user \"a:b:c\" is no user (write user or user:group, by name or number)",
        ],
    )]);
}
